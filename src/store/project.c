#include "store/blob.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/arena.h"
#include "core/mem.h"
#include "core/sha256.h"
#include "loop/file.h"
#include "store/disk.h"

/* Above this many files one sync of the file system beats one of each file. */
enum { SYNC_EACH_MAX = 256, PATH_BYTES_MAX = 1024 };

struct make {
	uv_work_t work;
	struct arena arena;
	const char *dir;
	struct project_file *files; /* sorted by path */
	size_t n;
	char hash[SHA256_HEX];
	char *made; /* owned: the directory */
	struct err err;
	void (*done)(void *data, const char *dir, const struct err *err);
	void *data;
};

static void make_work(uv_work_t *work);
static void on_made(uv_work_t *work, int status);

bool project_path_ok(const char *path)
{
	size_t len = path ? strlen(path) : 0;
	const char *part = path;

	if (len == 0 || len > PATH_BYTES_MAX)
		return false;
	for (;;) {
		size_t n = strcspn(part, "/");

		if (n == 0 || (n == 1 && part[0] == '.') ||
		    (n == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		if (part[n] == '\0')
			return true;
		part += n + 1;
	}
}

static mode_t kept_mode(uint32_t mode)
{
	return mode & 0111 ? 0755 : 0644;
}

static int by_path(const void *a, const void *b)
{
	const struct project_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static void hash_sorted(const struct project_file *files, size_t n,
			char out[SHA256_HEX])
{
	struct sha256 sum;

	sha256_init(&sum);
	for (size_t i = 0; i < n; i++) {
		const char *mode = kept_mode(files[i].mode) == 0755 ? "x" : "-";

		/* A path has no NUL: no two lists give the same bytes. */
		sha256_add(&sum, files[i].path, strlen(files[i].path) + 1);
		sha256_add(&sum, mode, 1);
		sha256_add(&sum, files[i].hash, strlen(files[i].hash) + 1);
	}
	sha256_hex(&sum, out);
}

void project_hash(const struct project_file *files, size_t n, char out[65])
{
	cleanup_free struct project_file *sorted =
		mem_alloc(n * sizeof *sorted);

	if (n > 0)
		memcpy(sorted, files, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_path);
	hash_sorted(sorted, n, out);
}

void project_make(struct blobs *b, const struct project_file *files, size_t n,
		  void (*done)(void *data, const char *dir,
			       const struct err *err),
		  void *data)
{
	struct make *m = mem_alloc(sizeof *m);
	int rc;

	arena_init(&m->arena);
	m->dir = arena_strdup(&m->arena, b->dir);
	m->files = arena_alloc(&m->arena, n * sizeof *m->files);
	m->n = n;
	for (size_t i = 0; i < n; i++) {
		/* Checked here and not only by who calls: it becomes a path. */
		if (!project_path_ok(files[i].path) ||
		    !blob_hash_ok(files[i].hash))
			err_set(&m->err, E_INVALID,
				"'%.200s' cannot be a project's file: its path "
				"must be relative and without '..', its hash a "
				"SHA-256",
				files[i].path ? files[i].path : "");
		m->files[i].path = arena_strdup(
			&m->arena, files[i].path ? files[i].path : "");
		m->files[i].hash = arena_strdup(
			&m->arena, files[i].hash ? files[i].hash : "");
		m->files[i].mode = files[i].mode;
	}
	qsort(m->files, n, sizeof *m->files, by_path);
	hash_sorted(m->files, n, m->hash);
	m->done = done;
	m->data = data;
	m->work.data = m;
	rc = uv_queue_work(b->loop, &m->work, make_work, on_made);
	assert(rc == 0);
}

/* The directories above `path`, under root. */
static int make_parents(const char *root, const char *path, struct err *err)
{
	for (const char *s = strchr(path, '/'); s; s = strchr(s + 1, '/')) {
		cleanup_free char *dir =
			mem_printf("%s/%.*s", root, (int)(s - path), path);

		/* Umask clips what mkdir makes: the mode is set by hand. */
		if (mkdir(dir, 0755) == 0) {
			if (chmod(dir, 0755) != 0)
				return err_sys(err, errno, "%s", dir);
		} else if (errno != EEXIST) {
			return disk__fail(err, errno, root,
					  "making the project");
		}
	}
	return 0;
}

static int copy_file(struct make *m, const char *root,
		     const struct project_file *f)
{
	cleanup_free char *from = disk__blob_path(m->dir, f->hash);
	cleanup_free char *to = mem_printf("%s/%s", root, f->path);
	cleanup_close int in = -1, out = -1;
	int rc;

	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0 && errno == ENOENT)
		return err_set(&m->err, E_NOTFOUND,
			       "the project's file '%s' (SHA-256 %s) has not "
			       "been uploaded",
			       f->path, f->hash);
	if (in < 0)
		return disk__fail(&m->err, errno, m->dir, "reading a file");
	rc = make_parents(root, f->path, &m->err);
	if (rc != 0)
		return rc;
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0 && (errno == EEXIST || errno == EISDIR || errno == ENOTDIR))
		return err_set(&m->err, E_INVALID,
			       "the project's file '%s' is listed twice, or "
			       "both as a file and as a directory",
			       f->path);
	if (out < 0)
		return disk__fail(&m->err, errno, m->dir, "making the project");
	rc = -disk__copy(in, out);
	if (rc == 0 && fchmod(out, kept_mode(f->mode)) != 0)
		rc = errno;
	if (rc == 0 && m->n <= SYNC_EACH_MAX && fsync(out) != 0)
		rc = errno;
	return rc == 0 ? 0
		       : disk__fail(&m->err, rc, m->dir, "making the project");
}

/* Every directory of the tree: sorted files name each at least once. */
static int sync_dirs(struct make *m, const char *root)
{
	const char *last = "";
	int rc = disk__sync_dir(root);

	for (size_t i = 0; rc == 0 && i < m->n; i++) {
		const char *path = m->files[i].path;

		for (const char *s = strchr(path, '/'); rc == 0 && s;
		     s = strchr(s + 1, '/')) {
			size_t len = (size_t)(s - path) + 1;
			cleanup_free char *dir = NULL;

			if (strncmp(last, path, len) == 0)
				continue; /* the file before is in it too */
			dir = mem_printf("%s/%.*s", root, (int)len, path);
			rc = disk__sync_dir(dir);
		}
		last = path;
	}
	return rc;
}

static int sync_all(struct make *m, const char *root)
{
	int rc;

	if (m->n > SYNC_EACH_MAX) {
		cleanup_close int fd =
			open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		rc = fd < 0 || syncfs(fd) != 0 ? -errno : 0;
	} else {
		rc = sync_dirs(m, root);
	}
	return rc == 0 ? 0
		       : disk__fail(&m->err, -rc, m->dir, "making the project");
}

/* What it was made of, for blobs_gc: there before the project is. */
static int write_list(struct make *m, const char *root)
{
	cleanup_free char *path = disk__list_path(m->dir, m->hash);
	cleanup_free char *temp = mem_printf("%s.list", root);
	cleanup_free char *text = mem_alloc(m->n * 65 + 1);
	int rc;

	for (size_t i = 0; i < m->n; i++) {
		memcpy(text + i * 65, m->files[i].hash, 64);
		text[i * 65 + 64] = '\n';
	}
	rc = file_write(temp, text, m->n * 65, 0600, &m->err);
	if (rc == 0 && rename(temp, path) != 0)
		rc = disk__fail(&m->err, errno, m->dir, "making the project");
	return rc;
}

static int fill(struct make *m, const char *root)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->n; i++)
		rc = copy_file(m, root, &m->files[i]);
	if (rc == 0 && chmod(root, 0755) != 0)
		rc = disk__fail(&m->err, errno, m->dir, "making the project");
	if (rc == 0)
		rc = sync_all(m, root);
	if (rc == 0)
		rc = write_list(m, root);
	return rc;
}

static void make_work(uv_work_t *work)
{
	struct make *m = work->data;
	cleanup_free char *temp =
		mem_printf("%s/projects/" DISK_TEMP "XXXXXX", m->dir);
	cleanup_free char *above = mem_printf("%s/projects", m->dir);
	struct stat st;
	int rc;

	if (m->err.code)
		return;
	m->made = disk__project_path(m->dir, m->hash);
	if (stat(m->made, &st) == 0) {
		/* Young again: blobs_gc leaves it for the deploy under way. */
		utimensat(AT_FDCWD, m->made, NULL, 0);
		return;
	}
	if (!mkdtemp(temp)) {
		disk__fail(&m->err, errno, m->dir, "making the project");
		return;
	}
	if (fill(m, temp) == 0) {
		/* Another deploy may have made the same one meanwhile. */
		if (rename(temp, m->made) != 0 && errno != ENOTEMPTY &&
		    errno != EEXIST)
			disk__fail(&m->err, errno, m->dir,
				   "making the project");
		else if ((rc = disk__sync_dir(above)) != 0)
			disk__fail(&m->err, -rc, m->dir, "making the project");
	}
	file_remove_tree(temp, NULL); /* nothing there if it was renamed */
}

static void on_made(uv_work_t *work, int status)
{
	struct make *m = work->data;

	(void)status;
	m->done(m->data, m->err.code ? NULL : m->made,
		m->err.code ? &m->err : NULL);
	free(m->made);
	arena_fini(&m->arena);
	free(m);
}

char *project_dir(const struct blobs *b, const char *hash)
{
	struct stat st;
	char *path;

	if (!blob_hash_ok(hash))
		return NULL;
	path = disk__project_path(b->dir, hash);
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return path;
	free(path);
	return NULL;
}

int project_kind(const struct blobs *b, const char *hash, const char *path)
{
	cleanup_free char *dir = project_dir(b, hash);
	cleanup_free char *at = NULL;
	struct stat st;

	if (!dir || !project_path_ok(path))
		return 0;
	at = mem_printf("%s/%s", dir, path);
	if (stat(at, &st) != 0)
		return 0;
	return S_ISDIR(st.st_mode) ? 2 : 1;
}
