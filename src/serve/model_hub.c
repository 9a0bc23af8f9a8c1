/* model_hub.c: the models of the hub that a revision has, where the hub's own
 * libraries look for them by name. Each revision has such a folder of its own,
 * so that nothing that others fetch changes what it loads:
 *
 *   DATA/models/pins/API-N/.hub/models--ORG--NAME/
 *     snapshots/COMMIT   a link to the tree
 *     refs/main          COMMIT, whatever revision of the hub it was asked as
 *     refs/REVISION      the same, by that name */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/str.h"
#include "loop/file.h"
#include "serve/model_pin.h"
#include "serve/model_set.h"
#include "store/blob.h"

#define SCHEME "hf://"

static bool is_of_hub(const struct model_item *item)
{
	return strncmp(item->source, SCHEME, strlen(SCHEME)) == 0;
}

/* "models--ORG--NAME", and the revision, of hf://ORG/NAME@REVISION. */
static char *folder_of(const struct model_item *item, const char **ret_revision)
{
	const char *name = item->source + strlen(SCHEME);
	size_t len = strcspn(name, "@");
	struct buf b;

	*ret_revision = name[len] && name[len + 1] ? name + len + 1 : "main";
	buf_init(&b, 4096);
	buf_adds(&b, "models--");
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '/')
			buf_adds(&b, "--");
		else
			buf_addc(&b, name[i]);
	}
	return buf_take(&b, NULL);
}

/* A name without a revision means main: of two revisions of one model the one
 * that was asked for as that, else the first. */
static bool is_main(const struct model_item *item)
{
	const struct model_set *set = item->set;
	const char *revision, *other;
	cleanup_free char *folder = folder_of(item, &revision);

	if (strcmp(revision, "main") == 0)
		return true;
	for (size_t i = 0; i < set->n; i++) {
		const struct model_item *it = &set->items[i];
		cleanup_free char *its = NULL;

		if (it == item || !is_of_hub(it))
			continue;
		its = folder_of(it, &other);
		if (strcmp(its, folder) == 0 &&
		    (it < item || strcmp(other, "main") == 0))
			return false;
	}
	return true;
}

static int put_ref(const char *dir, const char *revision, const char *commit,
		   struct err *err)
{
	cleanup_free char *path = mem_printf("%s/refs/%s", dir, revision);
	cleanup_free char *above = mem_strdup(path);
	int rc;

	*strrchr(above, '/') = '\0'; /* "refs/pr/1" has folders of its own */
	rc = file_mkdirs(above, 0755, err);
	return rc ? rc : file_write(path, commit, strlen(commit), 0644, err);
}

/* Versions whose tree has gone. */
static void sweep(const char *snapshots)
{
	DIR *d = opendir(snapshots);
	struct dirent *e;
	struct stat st;

	if (!d)
		return;
	while ((e = readdir(d)))
		if (fstatat(dirfd(d), e->d_name, &st, 0) && errno == ENOENT)
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

int model_hub_put(const struct model_item *item, const struct model *m,
		  struct err *err)
{
	cleanup_free char *hub = model_set_hub(item->set);
	cleanup_free char *folder = NULL, *dir = NULL, *snapshots = NULL;
	cleanup_free char *link = NULL;
	const char *revision, *commit = m->etag;
	int rc;

	if (!is_of_hub(item))
		return 0;
	/* What a source says becomes a name here. */
	if (!commit || !project_path_ok(commit) || strchr(commit, '/'))
		commit = m->tree;
	folder = folder_of(item, &revision);
	if (!project_path_ok(revision))
		return err_set(err, E_INVALID,
			       "'%.200s' is no revision of a model at the hub",
			       revision);
	dir = mem_printf("%s/%s", hub, folder);
	snapshots = mem_printf("%s/snapshots", dir);
	link = mem_printf("%s/%s", snapshots, commit);
	rc = pin_set(link, m->path, err);
	if (!rc && is_main(item))
		rc = put_ref(dir, "main", commit, err);
	/* A commit needs no file to be found. */
	if (!rc && strcmp(revision, "main") != 0 &&
	    strcmp(revision, commit) != 0)
		rc = put_ref(dir, revision, commit, err);
	sweep(snapshots);
	return rc;
}

char *model_set_hub(const struct model_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		if (is_of_hub(&set->items[i]))
			return pin_path(set->rev, ".hub");
	return NULL;
}
