/* shelf_gc.c: what nobody needs any more. */
#include "store/shelf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "core/map.h"
#include "core/mem.h"
#include "loop/file.h"
#include "store/blob.h"
#include "store/shelf_parts.h"

enum { ABANDONED_S = 86400 };

struct gc {
	struct shelf *s;
	struct map in_use; /* trees */
	struct map trees;  /* that stay */
	struct map files;  /* of trees that stay, or of a pull under way */
	bool unsure;	   /* what a tree has is not known: its files stay */
	struct shelf_gc told;
};

static bool note_file(void *data, const struct shelf_file *f)
{
	struct gc *g = data;

	map_set(&g->files, f->sha256, g);
	return true;
}

static int note_ref(void *data, const struct shelf_ref *r)
{
	struct gc *g = data;

	map_set(&g->trees, r->tree, g);
	return 0;
}

/* ---- pulls ---- */

/* A pull relies on files that no tree has yet: its notes name them. */
static void note_pull(struct gc *g, const char *dir)
{
	DIR *d = shelf__opendir(dir);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		cleanup_free char *path = NULL, *text = NULL;
		cleanup_json yyjson_doc *doc = NULL;
		const char *dot = strrchr(e->d_name, '.'), *hash;
		size_t len;

		if (!dot || strcmp(dot, ".json") != 0)
			continue;
		path = mem_printf("%s/%s", dir, e->d_name);
		if (shelf__read(path, SHELF_JSON_MAX, &text, &len) != 0)
			continue;
		doc = json_parse(text, len, NULL);
		hash = json_str(yyjson_doc_get_root(doc), "done", NULL);
		if (blob_hash_ok(hash))
			map_set(&g->files, hash, g);
	}
	closedir(d);
}

static uint64_t size_of(const char *dir)
{
	DIR *d = shelf__opendir(dir);
	struct dirent *e;
	uint64_t size = 0;

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		struct stat st;

		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			    0 &&
		    S_ISREG(st.st_mode))
			size += (uint64_t)st.st_blocks * 512;
	}
	closedir(d);
	return size;
}

/* Nobody has written here for a day, and nobody holds the lock. */
static bool is_abandoned(const char *dir)
{
	cleanup_free char *path = mem_printf("%s/lock", dir);
	cleanup_close int fd = -1;
	struct stat st;

	if (lstat(dir, &st) != 0 || st.st_mtime > time(NULL) - ABANDONED_S)
		return false;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? errno == ENOENT : flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static void sweep_pulls(struct gc *g)
{
	cleanup_free char *above = mem_printf("%s/parts", g->s->at);
	DIR *d = shelf__opendir(above);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		cleanup_free char *dir = NULL;

		if (!blob_hash_ok(e->d_name))
			continue;
		dir = mem_printf("%s/%s", above, e->d_name);
		if (is_abandoned(dir)) {
			g->told.freed += size_of(dir);
			file_remove_tree(dir, NULL);
			continue;
		}
		note_pull(g, dir);
		g->told.left += size_of(dir);
	}
	closedir(d);
}

/* ---- trees and files ---- */

/* By a rename first: nobody sees half a tree. */
static void remove_tree(struct gc *g, const char *tree)
{
	cleanup_free char *path = shelf__tree_at(g->s, tree);
	cleanup_free char *manifest = shelf__manifest_path(g->s, tree);
	cleanup_free char *temp =
		mem_printf("%s/trees/" DISK_TEMP "%s", g->s->at, tree);

	if (rename(path, temp) != 0)
		return;
	unlink(manifest);
	file_remove_tree(temp, NULL);
	g->told.trees++;
}

/* A manifest whose tree has gone: from a gc that was killed between. */
static void sweep_manifest(struct gc *g, const char *name)
{
	cleanup_free char *tree = mem_strndup(name, SHA256_HEX - 1);
	cleanup_free char *path = NULL, *manifest = NULL;

	if (!blob_hash_ok(tree) || strcmp(name + SHA256_HEX - 1, ".json") != 0)
		return;
	path = shelf__tree_at(g->s, tree);
	manifest = shelf__manifest_path(g->s, tree);
	if (access(path, F_OK) != 0 && errno == ENOENT)
		unlink(manifest);
}

static int sweep_trees(struct gc *g, struct err *err)
{
	cleanup_free char *above = mem_printf("%s/trees", g->s->at);
	DIR *d = shelf__opendir(above);
	struct dirent *e;

	if (!d)
		return shelf__fail(g->s, errno, "tidying models", err);
	while ((e = readdir(d))) {
		if (strlen(e->d_name) >= SHA256_HEX - 1)
			sweep_manifest(g, e->d_name);
		if (!blob_hash_ok(e->d_name))
			continue;
		if (!map_get(&g->trees, e->d_name) &&
		    !map_get(&g->in_use, e->d_name))
			remove_tree(g, e->d_name);
		else if (!shelf__each_file(g->s, e->d_name, note_file, g))
			g->unsure = true;
	}
	closedir(d);
	return 0;
}

static void sweep_file(struct gc *g, int folder, const char *shelf,
		       const char *name)
{
	cleanup_free char *hash = mem_printf("%s%s", shelf, name);
	struct stat st;

	if (!blob_hash_ok(hash) ||
	    fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if (map_get(&g->files, hash) || g->unsure || st.st_nlink > 1 ||
	    unlinkat(folder, name, 0) != 0)
		g->told.left += (uint64_t)st.st_size;
	else
		g->told.freed += (uint64_t)st.st_size;
}

static void sweep_files(struct gc *g)
{
	for (unsigned i = 0; i < 256; i++) {
		cleanup_free char *path =
			mem_printf("%s/files/%02x", g->s->at, i);
		DIR *d = shelf__opendir(path);
		struct dirent *e;
		char shelf[4];

		if (!d)
			continue;
		snprintf(shelf, sizeof shelf, "%02x", i & 255);
		while ((e = readdir(d)))
			sweep_file(g, dirfd(d), shelf, e->d_name);
		closedir(d);
	}
}

/* Once over all; told.left is what is there then. */
static int sweep(struct gc *g, struct err *err)
{
	int rc;

	map_fini(&g->trees);
	map_fini(&g->files);
	map_init(&g->trees);
	map_init(&g->files);
	g->unsure = false;
	g->told.left = 0;
	rc = shelf_each(g->s, note_ref, g, err);
	if (rc == 0)
		rc = sweep_trees(g, err);
	if (rc != 0)
		return rc;
	sweep_pulls(g);
	sweep_files(g);
	return 0;
}

/* ---- the budget ---- */

struct oldest {
	struct gc *g;
	char *name; /* owned */
	int64_t used_at;
};

static int note_oldest(void *data, const struct shelf_ref *r)
{
	struct oldest *o = data;

	if (map_get(&o->g->in_use, r->tree) ||
	    (o->name && r->used_at >= o->used_at))
		return 0;
	free(o->name);
	o->name = shelf_ref_name(r);
	o->used_at = r->used_at;
	return 0;
}

/* Drops the ref used longest ago. False: none may go. */
static bool drop_oldest(struct gc *g)
{
	struct oldest o = {.g = g};
	bool gone;

	gone = shelf_each(g->s, note_oldest, &o, NULL) == 0 && o.name &&
	       shelf_remove(g->s, o.name, NULL) == 0;
	free(o.name);
	if (gone)
		g->told.refs++;
	return gone;
}

int shelf_gc(struct shelf *s, uint64_t budget, const char *const *trees_in_use,
	     size_t n, struct shelf_gc *ret, struct err *err)
{
	cleanup_guise struct shelf_guise guise = shelf__worn(s);
	cleanup_close int lock = -1;
	struct gc g = {.s = s};
	int rc = shelf__lock(s, ".lock", LOCK_EX, &lock, err);

	if (rc != 0)
		return rc;
	map_init(&g.in_use);
	map_init(&g.trees);
	map_init(&g.files);
	for (size_t i = 0; i < n; i++)
		if (trees_in_use[i])
			map_set(&g.in_use, trees_in_use[i], &g);
	rc = sweep(&g, err);
	while (rc == 0 && budget > 0 && g.told.left > budget && drop_oldest(&g))
		rc = sweep(&g, err);
	if (rc == 0 && ret)
		*ret = g.told;
	map_fini(&g.in_use);
	map_fini(&g.trees);
	map_fini(&g.files);
	return rc;
}
