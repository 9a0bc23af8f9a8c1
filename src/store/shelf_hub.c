/* shelf_hub.c: what was fetched from the hub, in the layout that the hub's own
 * libraries look for. */
#include "store/shelf.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "loop/file.h"
#include "store/blob.h"
#include "store/shelf_parts.h"

#define DOING "noting a model of the hub"

/* "models--ORG--NAME", and the revision, of hf://ORG/NAME@REV. */
static char *folder_of(const char *url, const char **ret_revision)
{
	const char *name = url + strlen("hf://");
	const char *at = strchr(name, '@');
	size_t len = at ? (size_t)(at - name) : strlen(name);
	struct buf b;

	buf_init(&b, 4096);
	buf_adds(&b, "models");
	for (size_t i = 0; i <= len; i++) {
		const char *slash = memchr(name + i, '/', len - i);
		size_t n = slash ? (size_t)(slash - name) - i : len - i;

		buf_adds(&b, "--");
		buf_add(&b, name + i, n);
		i += n;
	}
	*ret_revision = at && at[1] ? at + 1 : "main";
	return buf_take(&b, NULL);
}

static int make_folder(const struct shelf *s, const char *path, struct err *err)
{
	if (mkdir(path, 0755) != 0)
		return errno == EEXIST ? 0 : shelf__fail(s, errno, DOING, err);
	return chmod(path, 0755) == 0 ? 0 : shelf__fail(s, errno, DOING, err);
}

static int put_link(const struct shelf *s, const char *dir, const char *commit,
		    const char *tree, struct err *err)
{
	cleanup_free char *to = mem_printf("../../../trees/%s", tree);
	cleanup_free char *path = mem_printf("%s/snapshots/%s", dir, commit);
	cleanup_free char *temp = mem_printf("%s/hub/" DISK_TEMP "%s-%d", s->at,
					     commit, (int)getpid());

	unlink(temp);
	if (symlink(to, temp) != 0)
		return shelf__fail(s, errno, DOING, err);
	if (rename(temp, path) != 0) {
		int sys = errno;

		unlink(temp);
		return shelf__fail(s, sys, DOING, err);
	}
	return 0;
}

static int put_ref(const char *dir, const char *revision, const char *commit,
		   struct err *err)
{
	cleanup_free char *path = mem_printf("%s/refs/%s", dir, revision);
	cleanup_free char *above = mem_strdup(path);
	int rc;

	*strrchr(above, '/') = '\0'; /* "refs/pr/1" has folders of its own */
	rc = file_mkdirs(above, 0755, err);
	if (rc == 0)
		rc = file_write(path, commit, strlen(commit), 0644, err);
	return rc;
}

int shelf__hub_put(const struct shelf *s, const char *url, const char *commit,
		   const char *tree, struct err *err)
{
	cleanup_free char *folder = NULL, *dir = NULL, *snapshots = NULL;
	const char *revision;
	int rc;

	if (strncmp(url, "hf://", 5) != 0 || !project_path_ok(commit) ||
	    strchr(commit, '/'))
		return 0;
	folder = folder_of(url, &revision);
	if (strchr(folder, '/') || !project_path_ok(revision))
		return err_set(err, E_INVALID,
			       "'%.200s' is no revision of a model at the hub",
			       revision);
	dir = mem_printf("%s/hub/%s", s->at, folder);
	snapshots = mem_printf("%s/snapshots", dir);
	rc = make_folder(s, dir, err);
	if (rc == 0)
		rc = make_folder(s, snapshots, err);
	if (rc == 0)
		rc = put_link(s, dir, commit, tree, err);
	/* A commit is a revision, too, which needs no file to be found. */
	if (rc == 0 && strcmp(revision, commit) != 0)
		rc = put_ref(dir, revision, commit, err);
	return rc;
}

/* ---- sweeping ---- */

static void sweep_snapshots(const char *dir)
{
	cleanup_free char *snapshots = mem_printf("%s/snapshots", dir);
	DIR *d = shelf__opendir(snapshots);
	struct dirent *e;
	size_t left = 0;

	if (!d)
		return;
	while ((e = readdir(d))) {
		cleanup_free char *path = NULL;
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		path = mem_printf("%s/%s", snapshots, e->d_name);
		if (stat(path, &st) != 0 && errno == ENOENT)
			unlink(path);
		else
			left++;
	}
	closedir(d);
	if (left == 0)
		file_remove_tree(dir, NULL);
}

void shelf__hub_sweep(const struct shelf *s)
{
	cleanup_free char *hub = mem_printf("%s/hub", s->at);
	DIR *d = shelf__opendir(hub);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		cleanup_free char *dir = NULL;

		if (strncmp(e->d_name, "models--", 8) != 0)
			continue;
		dir = mem_printf("%s/%s", hub, e->d_name);
		sweep_snapshots(dir);
	}
	closedir(d);
}
