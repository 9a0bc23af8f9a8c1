#include "store/shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/mem.h"
#include "store/blob.h"
#include "store/shelf_parts.h"

int shelf__fail(const struct shelf *s, int sys, const char *doing,
		struct err *err)
{
	struct statvfs fs;
	char left[32];

	if ((sys == ENOSPC || sys == EDQUOT) && statvfs(s->at, &fs) == 0)
		return err_set(
			err, E_NOSPACE,
			"%s: no space left in %s, %s are free: make "
			"room on its file system, remove models that "
			"nobody needs ('soma models rm'), then try again",
			doing, s->dir,
			str_human_bytes((uint64_t)fs.f_bavail * fs.f_frsize,
					left));
	return disk__fail(err, sys, s->dir, doing);
}

char *shelf__file_path(const struct shelf *s, const char *sha256)
{
	return mem_printf("%s/files/%.2s/%s", s->at, sha256, sha256 + 2);
}

char *shelf__manifest_path(const struct shelf *s, const char *tree)
{
	return mem_printf("%s/trees/%s.json", s->at, tree);
}

char *shelf_tree_path(const struct shelf *s, const char *tree)
{
	return mem_printf("%s/trees/%s", s->dir, tree);
}

char *shelf__tree_at(const struct shelf *s, const char *tree)
{
	return mem_printf("%s/trees/%s", s->at, tree);
}

void shelf__key(const char *name, char out[SHA256_HEX])
{
	struct sha256 sum;

	sha256_init(&sum);
	sha256_add(&sum, name, strlen(name));
	sha256_hex(&sum, out);
}

char *shelf_parts_path(const struct shelf *s, const char *name)
{
	char key[SHA256_HEX];

	shelf__key(name, key);
	return mem_printf("%s/parts/%s", s->dir, key);
}

int shelf__lock(const struct shelf *s, const char *name, int how, int *ret_fd,
		struct err *err)
{
	cleanup_free char *path = mem_printf("%s/%s", s->at, name);
	int fd = open(path,
		      O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
		      0600);

	if (fd < 0)
		return shelf__fail(s, errno, "locking the models", err);
	while (flock(fd, how) != 0) {
		int sys = errno;

		if (sys == EINTR)
			continue;
		close(fd);
		if (sys == EWOULDBLOCK)
			return err_set(err, E_BUSY,
				       "%s/%s is locked by another process",
				       s->dir, name);
		return shelf__fail(s, sys, "locking the models", err);
	}
	*ret_fd = fd;
	return 0;
}

int shelf__write(const struct shelf *s, const char *folder, const char *name,
		 const char *text, size_t len, mode_t mode, struct err *err)
{
	cleanup_free char *dir = mem_printf("%s/%s", s->at, folder);
	cleanup_free char *temp = mem_printf("%s/" DISK_TEMP "XXXXXX", dir);
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	cleanup_close int fd = mkostemp(temp, O_CLOEXEC);
	int rc;

	if (fd < 0)
		return shelf__fail(s, errno, "noting a model", err);
	rc = -disk__write(fd, text, len);
	if (rc == 0 && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
		rc = errno;
	if (rc == 0 && rename(temp, path) != 0)
		rc = errno;
	if (rc == 0)
		rc = -disk__sync_dir(dir);
	else
		unlink(temp);
	return rc == 0 ? 0 : shelf__fail(s, rc, "noting a model", err);
}

/* ---- reading ---- */

DIR *shelf__opendir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !d)
		close(fd);
	return d;
}

int shelf__read(const char *path, size_t max, char **ret, size_t *ret_len)
{
	/* A pipe would keep who opens it waiting. */
	cleanup_close int fd =
		open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	cleanup_free char *text = NULL;
	struct stat st;
	size_t len = 0;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -1;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max)
		return -1;
	text = mem_alloc((size_t)st.st_size + 1);
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret = mem_take(&text);
	*ret_len = len;
	return 0;
}

char *shelf_manifest(const struct shelf *s, const char *tree, size_t *ret_len)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free char *path = shelf__manifest_path(s, tree);
	char *text = NULL;

	return shelf__read(path, SHELF_JSON_MAX, &text, ret_len) == 0 ? text
								      : NULL;
}

/* ---- files ---- */

bool shelf_has(const struct shelf *s, const char *sha256, uint64_t size)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free char *path = NULL;
	struct stat st;

	if (!blob_hash_ok(sha256))
		return false;
	path = shelf__file_path(s, sha256);
	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == size && shelf__is_sound(&st);
}

static int rename_in(struct shelf *s, const char *from, const char *sha256)
{
	cleanup_free char *to = shelf__file_path(s, sha256);
	cleanup_free char *above = mem_printf("%s/files", s->at);
	cleanup_free char *folder = mem_printf("%s/%.2s", above, sha256);
	int rc;

	if (mkdir(folder, 0755) == 0) {
		if (chmod(folder, 0755) != 0)
			return errno;
		rc = disk__sync_dir(above);
		if (rc != 0)
			return -rc;
	} else if (errno != EEXIST) {
		return errno;
	}
	if (rename(from, to) != 0)
		return errno;
	return -disk__sync_dir(folder);
}

int shelf_take(struct shelf *s, const char *from, const char *sha256,
	       struct err *err)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_close int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int lock = -1;
	struct stat st;
	int rc = 0;

	if (!blob_hash_ok(sha256))
		return err_set(err, E_INVALID,
			       "'%.80s' is not a SHA-256 in 64 lower-case hex "
			       "digits",
			       sha256 ? sha256 : "");
	if (fd < 0 || fstat(fd, &st) != 0)
		return err_sys(err, errno, "cannot open %s", from);
	if (shelf_has(s, sha256, (uint64_t)st.st_size)) {
		unlink(from);
		return 0;
	}
	if (fsync(fd) != 0 || fchmod(fd, 0444) != 0)
		rc = errno;
	/* gc has looked at the notes of pulls, or has not begun. */
	if (rc == 0 && shelf__lock(s, ".lock", LOCK_SH, &lock, err) != 0)
		return err ? err->code : E_IO;
	if (rc == 0)
		rc = rename_in(s, from, sha256);
	return rc == 0 ? 0 : shelf__fail(s, rc, "storing a model's file", err);
}
