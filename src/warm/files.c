/* files.c: which files a model has. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/str.h"
#include "warm/warm.h"

enum {
	FILES_MAX = 10000,     /* beyond it is no model */
	NAMES_MAX = 100000,    /* looked at in all, of whatever they are */
	DEPTH_MAX = 32,	       /* each has a descriptor */
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

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* What is looked at on the way down. */
struct walk {
	struct warm_files *files;
	const atomic_bool *stop; /* or NULL */
	dev_t device;		 /* that of the path that was given */
	unsigned left;		 /* names that may still be looked at */
};

struct folders {
	char **names; /* owned */
	size_t n;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct warm_file *)a)->path,
		      ((const struct warm_file *)b)->path);
}

static void add_folder(struct folders *f, const char *name)
{
	if (!(f->n & (f->n - 1)))
		f->names = mem_grow(f->names,
				    (f->n ? 2 * f->n : 1) * sizeof *f->names);
	f->names[f->n++] = mem_strdup(name);
}

static bool is_over(const struct walk *w)
{
	return !w->left || w->files->n >= FILES_MAX ||
	       (w->stop && atomic_load(w->stop));
}

/* A link counts where it leads to a file. A folder is not entered by one: it
 * may lead to all of the machine, or back up. */
static void look_at(struct walk *w, int dir, const char *path, const char *name,
		    struct folders *folders)
{
	cleanup_free char *whole = NULL;
	struct stat st;
	bool link;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
		w->files->whole = false;
		return;
	}
	link = S_ISLNK(st.st_mode);
	if (link && fstatat(dir, name, &st, 0))
		return; /* it leads to nothing */
	if (S_ISDIR(st.st_mode) && !link && st.st_dev == w->device)
		add_folder(folders, name);
	if (!S_ISREG(st.st_mode) || st.st_size < LEAST_BYTES)
		return;
	whole = mem_printf("%s/%s", path, name);
	add(w->files, whole, (uint64_t)st.st_size);
}

/* Of those from `first` on, which are of one folder: there may be several
 * models below a path. */
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

static void look_at_all(struct walk *w, DIR *dir, const char *path,
			struct folders *folders)
{
	size_t first = w->files->n;
	const struct dirent *e;

	while ((e = readdir(dir))) {
		if (is_dots(e->d_name))
			continue;
		if (is_over(w)) {
			w->files->whole = false;
			break;
		}
		w->left--;
		look_at(w, dirfd(dir), path, e->d_name, folders);
	}
	leave_other_forms(w->files, first);
	if (w->files->n > first)
		qsort(w->files->items + first, w->files->n - first,
		      sizeof *w->files->items, by_path);
	if (folders->n)
		qsort(folders->names, folders->n, sizeof *folders->names,
		      by_name);
}

static void walk(struct walk *w, int parent, const char *name, const char *path,
		 unsigned depth)
{
	int fd = openat(parent, name,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC |
				(depth ? O_NOFOLLOW : 0));
	DIR *dir = depth < DEPTH_MAX && fd >= 0 ? fdopendir(fd) : NULL;
	struct folders below = {0};

	if (!dir) {
		if (fd >= 0)
			close(fd);
		w->files->whole = false;
		return;
	}
	look_at_all(w, dir, path, &below);
	for (size_t i = 0; i < below.n; i++) {
		cleanup_free char *name_below = below.names[i];
		cleanup_free char *path_below =
			mem_printf("%s/%s", path, name_below);

		if (is_over(w))
			w->files->whole = false;
		else
			walk(w, dirfd(dir), name_below, path_below, depth + 1);
	}
	free(below.names);
	closedir(dir);
}

/* What the config names may be a link itself, as pins are. */
static void find(struct walk *w, const char *path)
{
	struct stat st;

	if (stat(path, &st)) {
		w->files->whole = false;
		return;
	}
	w->device = st.st_dev;
	if (S_ISDIR(st.st_mode))
		walk(w, AT_FDCWD, path, path, 0);
	else if (S_ISREG(st.st_mode) && st.st_size >= LEAST_BYTES)
		add(w->files, path, (uint64_t)st.st_size);
}

void warm_files_find(struct warm_files *f, const char *const *paths,
		     const atomic_bool *stop)
{
	struct walk w = {.files = f, .stop = stop, .left = NAMES_MAX};

	*f = (struct warm_files){.whole = true};
	for (; *paths; paths++)
		find(&w, *paths);
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
