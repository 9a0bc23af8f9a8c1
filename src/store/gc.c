#include "store/blob.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/map.h"
#include "core/mem.h"
#include "loop/file.h"
#include "store/disk.h"

/* Younger things may belong to a deploy that is under way. */
enum { YOUNG_S = 3600, LIST_BYTES_MAX = 64 << 20 };

struct gc {
	uv_work_t work;
	char *dir;	  /* owned */
	struct map keep;  /* projects */
	struct map blobs; /* used by kept projects */
	bool unsure;	  /* a kept project's blobs are not known: keep all */
	void (*done)(void *data);
	void *data;
};

static void gc_work(uv_work_t *work);
static void on_gc_done(uv_work_t *work, int status);

void blobs_gc(struct blobs *b, const char *const *keep, size_t n_keep,
	      void (*done)(void *data), void *data)
{
	struct gc *g = mem_alloc(sizeof *g);
	int rc;

	g->dir = mem_strdup(b->dir);
	map_init(&g->keep);
	map_init(&g->blobs);
	for (size_t i = 0; i < n_keep; i++)
		if (keep[i])
			map_set(&g->keep, keep[i], g);
	g->done = done;
	g->data = data;
	g->work.data = g;
	rc = uv_queue_work(b->loop, &g->work, gc_work, on_gc_done);
	assert(rc == 0);
}

static bool is_young(const char *path)
{
	struct stat st;

	return lstat(path, &st) != 0 || st.st_mtime > time(NULL) - YOUNG_S;
}

static void note_blobs(struct gc *g, const char *project)
{
	cleanup_free char *path = disk__list_path(g->dir, project);
	cleanup_free char *text = NULL;
	size_t len = 0;

	if (file_read(path, LIST_BYTES_MAX, &text, &len, NULL) != 0) {
		g->unsure = true;
		return;
	}
	for (char *at = text; at + 65 <= text + len; at += 65) {
		at[64] = '\0';
		map_set(&g->blobs, at, g);
	}
}

static void sweep_projects(struct gc *g)
{
	cleanup_free char *above = mem_printf("%s/projects", g->dir);
	DIR *d = opendir(above);
	struct dirent *e;

	if (!d) {
		g->unsure = true;
		return;
	}
	while ((e = readdir(d))) {
		cleanup_free char *path = NULL;
		cleanup_free char *list = NULL;

		if (!blob_hash_ok(e->d_name))
			continue;
		path = disk__project_path(g->dir, e->d_name);
		if (map_get(&g->keep, e->d_name) || is_young(path)) {
			note_blobs(g, e->d_name);
			continue;
		}
		file_remove_tree(path, NULL);
		list = disk__list_path(g->dir, e->d_name);
		unlink(list);
	}
	closedir(d);
}

static void sweep_shelf(struct gc *g, const char *shelf)
{
	cleanup_free char *above = mem_printf("%s/blobs/%s", g->dir, shelf);
	DIR *d = opendir(above);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		cleanup_free char *hash = mem_printf("%s%s", shelf, e->d_name);
		cleanup_free char *path = NULL;

		if (!blob_hash_ok(hash) || map_get(&g->blobs, hash))
			continue;
		path = disk__blob_path(g->dir, hash);
		if (!is_young(path))
			unlink(path);
	}
	closedir(d);
}

static void gc_work(uv_work_t *work)
{
	struct gc *g = work->data;
	char shelf[8];

	sweep_projects(g);
	if (g->unsure)
		return;
	for (int i = 0; i < 256; i++) {
		snprintf(shelf, sizeof shelf, "%02x", (unsigned)i);
		sweep_shelf(g, shelf);
	}
}

static void on_gc_done(uv_work_t *work, int status)
{
	struct gc *g = work->data;

	(void)status;
	if (g->done)
		g->done(g->data);
	map_fini(&g->keep);
	map_fini(&g->blobs);
	free(g->dir);
	free(g);
}
