#include "daemon/publish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/sha256.h"
#include "loop/file.h"

enum {
	FILE_MAX = 64 << 20,
	BIG = 4 << 20, /* known by size and time: reading it takes too long */
};

/* What is published, and where it lies, seen from the program. */
struct folder {
	const char *name;   /* below DATA/lib/HASH */
	const char *text;   /* for people */
	const char *marker; /* a file that must be there */
	const char *variable;
	const char *places[3];
};

static const struct folder worker = {
	.name = "soma",
	.text = "the Python worker",
	.marker = "worker_main.py",
	.variable = "SOMA_WORKER_DIR",
	.places = {"python/soma", "../lib/soma/python/soma", "../python/soma"},
};

static const struct folder host = {
	.name = "host",
	.text = "the native host",
	.marker = "soma-host",
	.variable = "SOMA_HOST_DIR",
	.places = {"host", "../lib/soma/host", "../host"},
};

static char *find(const struct folder *f, struct err *err)
{
	const char *named = getenv(f->variable);
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (named && *named)
		return mem_strdup(named);
	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	for (size_t i = 0; i < ARRAY_LEN(f->places); i++) {
		char *dir = mem_printf("%s/%s", self, f->places[i]);
		cleanup_free char *marker = mem_printf("%s/%s", dir, f->marker);

		if (access(marker, R_OK) == 0)
			return dir;
		free(dir);
	}
	err_set(err, E_NOTFOUND,
		"%s is not beside %s: build again, or install again", f->text,
		self);
	return NULL;
}

/* Paths of files, whose names differ. */
struct files {
	char **paths; /* owned */
	size_t n;
};

static void files_add(struct files *f, char *path)
{
	f->paths = mem_grow(f->paths, (f->n + 1) * sizeof *f->paths);
	f->paths[f->n++] = path;
}

static void files_fini(struct files *f)
{
	while (f->n > 0)
		free(f->paths[--f->n]);
	free(f->paths);
	f->paths = NULL;
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Regular files, by name. */
static int is_file(const struct dirent *e)
{
	return e->d_name[0] != '.' &&
	       (e->d_type == DT_REG || e->d_type == DT_LNK ||
		e->d_type == DT_UNKNOWN);
}

static int files_of(const char *dir, struct files *ret, struct err *err)
{
	struct dirent **list;
	int n = scandir(dir, &list, is_file, alphasort);

	if (n < 0)
		return err_sys(err, errno, "reading '%s'", dir);
	for (int i = 0; i < n; i++) {
		files_add(ret, mem_printf("%s/%s", dir, list[i]->d_name));
		free(list[i]);
	}
	free(list);
	return 0;
}

/* A big library is the same file under another name where that can be: each
 * build would leave a copy of it in the data directory. Not where somebody else
 * could go on writing to it: every api runs it. */
static bool share(const char *from, const char *to)
{
	struct stat st;

	return stat(from, &st) == 0 && st.st_size > BIG &&
	       (st.st_mode & 0444) == 0444 && (st.st_mode & 022) == 0 &&
	       (st.st_uid == 0 || st.st_uid == geteuid()) &&
	       linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) == 0;
}

static int copy_files(const struct files *f, const char *to, struct err *err)
{
	for (size_t i = 0; i < f->n; i++) {
		const char *a = f->paths[i];
		cleanup_free char *b = mem_printf("%s/%s", to, name_of(a));
		mode_t mode = access(a, X_OK) == 0 ? 0755 : 0644;

		if (!share(a, b) && file_copy(a, b, mode, err))
			return err->code;
	}
	return 0;
}

static int hash_file(struct sha256 *h, const char *path, struct err *err)
{
	cleanup_free char *data = NULL;
	struct stat st;
	size_t len;

	if (stat(path, &st) < 0)
		return err_sys(err, errno, "reading '%s'", path);
	if (st.st_size > BIG) {
		sha256_add(h, &st.st_size, sizeof st.st_size);
		sha256_add(h, &st.st_mtim, sizeof st.st_mtim);
		return 0;
	}
	if (file_read(path, FILE_MAX, &data, &len, err))
		return err->code;
	sha256_add(h, data, len);
	return 0;
}

static int hash_files(const struct files *f, char out[SHA256_HEX],
		      struct err *err)
{
	struct sha256 h;

	sha256_init(&h);
	for (size_t i = 0; i < f->n; i++) {
		const char *name = name_of(f->paths[i]);

		sha256_add(&h, name, strlen(name) + 1);
		if (hash_file(&h, f->paths[i], err)) {
			sha256_fini(&h);
			return err->code;
		}
	}
	sha256_hex(&h, out);
	out[16] = 0;
	return 0;
}

/* Where nobody has yet: into DATA/lib/HASH/NAME, which is free()d by the
 * caller. */
static int publish_files(const struct files *f, const char *name,
			 const char *data_dir, char **ret_dir, struct err *err)
{
	cleanup_free char *home = NULL, *tmp = NULL, *inside = NULL;
	char hash[SHA256_HEX];
	int rc = hash_files(f, hash, err);

	if (rc)
		return rc;
	home = mem_printf("%s/lib/%s", data_dir, hash);
	tmp = mem_printf("%s.tmp.%d", home, (int)getpid());
	inside = mem_printf("%s/%s", tmp, name);
	if (access(home, F_OK) < 0) {
		rc = file_mkdirs(inside, 0755, err);
		if (!rc)
			rc = copy_files(f, inside, err);
		if (!rc && rename(tmp, home) < 0 && errno != EEXIST &&
		    errno != ENOTEMPTY)
			rc = err_sys(err, errno, "making '%s'", home);
		if (rc)
			file_remove_tree(tmp, NULL);
	}
	if (!rc)
		*ret_dir = mem_printf("%s/%s", home, name);
	return rc;
}

static int publish(const struct folder *f, const char *data_dir, char **ret_dir,
		   struct err *err)
{
	cleanup_free char *from = find(f, err);
	struct files files = {0};
	int rc;

	if (!from)
		return err->code;
	rc = files_of(from, &files, err);
	if (!rc)
		rc = publish_files(&files, f->name, data_dir, ret_dir, err);
	files_fini(&files);
	return rc ? err_wrap(err, "copying %s", f->text) : 0;
}

/* Of the system: every user may read them. */
static bool is_of_system(const char *path)
{
	return strncmp(path, "/usr/", 5) == 0 || strncmp(path, "/lib", 4) == 0;
}

static int on_object(struct dl_phdr_info *info, size_t size, void *data)
{
	const char *path = info->dlpi_name;

	(void)size;
	/* The program itself has no name here, what the kernel brings no
	 * path. */
	if (path && strchr(path, '/') && !is_of_system(path))
		files_add(data, mem_strdup(path));
	return 0;
}

int publish_libraries(const char *data_dir, char **ret_dir, struct err *err)
{
	struct files files = {0};
	int rc = 0;

	*ret_dir = NULL;
	dl_iterate_phdr(on_object, &files);
	if (files.n)
		rc = publish_files(&files, "own", data_dir, ret_dir, err);
	files_fini(&files);
	return rc ? err_wrap(err, "copying Soma's libraries") : 0;
}

int publish_worker(const char *data_dir, char **ret_dir, struct err *err)
{
	return publish(&worker, data_dir, ret_dir, err);
}

int publish_host(const char *data_dir, char **ret_dir, struct err *err)
{
	return publish(&host, data_dir, ret_dir, err);
}

/* HASH, or HASH.tmp.PID of a daemon that was killed while it copied. */
static bool is_published(const char *name)
{
	enum { HASH_LEN = 16 };

	return strspn(name, "0123456789abcdef") == HASH_LEN &&
	       (!name[HASH_LEN] || strncmp(name + HASH_LEN, ".tmp.", 5) == 0);
}

void publish_sweep(const char *data_dir, const char *const *kept, size_t n_kept)
{
	cleanup_free char *lib = mem_printf("%s/lib", data_dir);
	struct dirent **list;
	int n = scandir(lib, &list, NULL, NULL);

	for (int i = 0; i < n; i++) {
		cleanup_free char *dir =
			mem_printf("%s/%s/", lib, list[i]->d_name);
		bool keep = !is_published(list[i]->d_name);

		for (size_t k = 0; k < n_kept && !keep; k++)
			keep = strncmp(kept[k], dir, strlen(dir)) == 0;
		dir[strlen(dir) - 1] = 0;
		if (!keep)
			file_remove_tree(dir, NULL);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}
