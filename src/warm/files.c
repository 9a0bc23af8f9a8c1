/* files.c: which files a model has. */
#include <fts.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "core/str.h"
#include "warm/warm.h"

enum {
	FILES_MAX = 10000,     /* beyond it is no model */
	LEAST_BYTES = 1 << 20, /* smaller ones are read in one go anyway */
};

static bool ends_in(const char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);

	return n > m && strcmp(path + n - m, end) == 0;
}

static bool is_safetensors(const char *path)
{
	return ends_in(path, ".safetensors");
}

/* The same weights once more, as hubs keep them beside safetensors. */
static bool is_other_form(const char *path)
{
	static const char *const ends[] = {".bin",  ".pt", ".pth",     ".ckpt",
					   ".onnx", ".h5", ".msgpack", ".ot"};

	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (ends_in(path, ends[i]))
			return true;
	return false;
}

static void add(struct warm_files *f, const char *path, uint64_t size)
{
	/* Twice as large when its size is a power of two. */
	if (!(f->n & (f->n - 1)))
		f->items = mem_grow(f->items,
				    (f->n ? 2 * f->n : 1) * sizeof *f->items);
	f->items[f->n++] =
		(struct warm_file){.path = mem_strdup(path), .size = size};
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* One that is being written, a loop of links: not a model's. */
static bool is_hidden(const FTSENT *e)
{
	return e->fts_info == FTS_DNR || e->fts_info == FTS_ERR ||
	       e->fts_info == FTS_NS;
}

static void walk(struct warm_files *f, const char *path)
{
	char *const roots[] = {(char *)(uintptr_t)path, NULL};
	/* Others run beside us: the working directory stays. */
	FTS *fts = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
	FTSENT *e;

	if (!fts) {
		f->whole = false;
		return;
	}
	while ((e = fts_read(fts))) {
		f->whole = f->whole && !is_hidden(e);
		if (f->n >= FILES_MAX) {
			f->whole = false;
			break;
		}
		if (e->fts_info == FTS_F &&
		    e->fts_statp->st_size >= LEAST_BYTES)
			add(f, e->fts_path, (uint64_t)e->fts_statp->st_size);
	}
	fts_close(fts);
}

/* Of those from `first` on, which one model has. */
static void leave_other_forms(struct warm_files *f, size_t first)
{
	size_t n = first;
	bool any = false;

	for (size_t i = first; i < f->n; i++)
		any = any || is_safetensors(f->items[i].path);
	for (size_t i = first; i < f->n; i++) {
		if (any && is_other_form(f->items[i].path))
			free(f->items[i].path);
		else
			f->items[n++] = f->items[i];
	}
	f->n = n;
}

void warm_files_find(struct warm_files *f, const char *const *paths)
{
	*f = (struct warm_files){.whole = true};
	for (; *paths; paths++) {
		size_t first = f->n;

		walk(f, *paths);
		leave_other_forms(f, first);
	}
	for (size_t i = 0; i < f->n; i++)
		f->bytes += f->items[i].size;
}

void warm_files_fini(struct warm_files *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->items[i].path);
	free(f->items);
	*f = (struct warm_files){0};
}
