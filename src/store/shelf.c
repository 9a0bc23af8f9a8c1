#include "store/shelf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "core/mem.h"
#include "loop/file.h"
#include "store/blob.h"
#include "store/shelf_parts.h"

int shelf__fail(const struct shelf *s, int sys, const char *doing,
		struct err *err)
{
	struct statvfs fs;
	char left[32];

	if ((sys == ENOSPC || sys == EDQUOT) && statvfs(s->dir, &fs) == 0)
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

void shelf__give(const struct shelf *s, int fd)
{
	struct stat st;

	if (geteuid() != 0 || stat(s->dir, &st) != 0 || st.st_uid == 0)
		return;
	/* What cannot be given shows when that user needs it. */
	if (fchown(fd, st.st_uid, st.st_gid) != 0)
		errno = 0;
}

char *shelf__file_path(const struct shelf *s, const char *sha256)
{
	return mem_printf("%s/files/%.2s/%s", s->dir, sha256, sha256 + 2);
}

char *shelf__manifest_path(const struct shelf *s, const char *tree)
{
	return mem_printf("%s/trees/%s.json", s->dir, tree);
}

char *shelf_tree_path(const struct shelf *s, const char *tree)
{
	return mem_printf("%s/trees/%s", s->dir, tree);
}

static void key_of(const char *url, char out[SHA256_HEX])
{
	struct sha256 sum;

	sha256_init(&sum);
	sha256_add(&sum, url, strlen(url));
	sha256_hex(&sum, out);
}

char *shelf_parts_path(const struct shelf *s, const char *url)
{
	char key[SHA256_HEX];

	key_of(url, key);
	return mem_printf("%s/parts/%s", s->dir, key);
}

int shelf__lock(const struct shelf *s, const char *name, int how, int *ret_fd,
		struct err *err)
{
	cleanup_free char *path = mem_printf("%s/%s", s->dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return shelf__fail(s, errno, "locking the models", err);
	shelf__give(s, fd);
	while (flock(fd, how) != 0) {
		int sys = errno;

		if (sys == EINTR)
			continue;
		close(fd);
		if (sys == EWOULDBLOCK)
			return err_set(err, E_BUSY,
				       "%s is locked by another process", path);
		return shelf__fail(s, sys, "locking the models", err);
	}
	*ret_fd = fd;
	return 0;
}

int shelf__write(const struct shelf *s, const char *folder, const char *name,
		 const char *text, size_t len, mode_t mode, struct err *err)
{
	cleanup_free char *dir = mem_printf("%s/%s", s->dir, folder);
	cleanup_free char *temp = mem_printf("%s/" DISK_TEMP "XXXXXX", dir);
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	cleanup_close int fd = mkostemp(temp, O_CLOEXEC);
	int rc;

	if (fd < 0)
		return shelf__fail(s, errno, "noting a model", err);
	shelf__give(s, fd);
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

/* ---- opening ---- */

static void clean(const struct shelf *s, const char *folder)
{
	cleanup_free char *path = mem_printf("%s/%s", s->dir, folder);
	DIR *d = opendir(path);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		cleanup_free char *child = NULL;

		if (strncmp(e->d_name, DISK_TEMP, sizeof DISK_TEMP - 1) != 0)
			continue;
		child = mem_printf("%s/%s", path, e->d_name);
		file_remove_tree(child, NULL);
	}
	closedir(d);
}

/* What was left half done, unless somebody may be at it. */
static void clean_all(const struct shelf *s)
{
	cleanup_close int lock = -1, refs = -1;

	if (shelf__lock(s, ".lock", LOCK_EX | LOCK_NB, &lock, NULL) != 0 ||
	    shelf__lock(s, "refs/.lock", LOCK_EX | LOCK_NB, &refs, NULL) != 0)
		return;
	clean(s, "files");
	clean(s, "trees");
	clean(s, "refs");
	clean(s, "hub");
}

static void give_folder(const struct shelf *s, const char *path)
{
	cleanup_close int fd =
		open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		shelf__give(s, fd);
}

int shelf_open(struct shelf *s, const char *dir, struct err *err)
{
	static const struct {
		const char *name;
		mode_t mode;
	} folders[] = {{"files", 0755},
		       {"trees", 0755},
		       {"refs", 0700},
		       {"parts", 0700},
		       {"hub", 0755}};
	char *whole;
	int rc = disk__mkdir(dir, 0755, err);

	if (rc != 0)
		return rc;
	whole = realpath(dir, NULL);
	if (!whole)
		return err_sys(err, errno, "cannot use directory %s", dir);
	s->dir = whole;
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(folders); i++) {
		cleanup_free char *path =
			mem_printf("%s/%s", whole, folders[i].name);

		if (access(path, F_OK) == 0)
			continue;
		rc = disk__mkdir(path, folders[i].mode, err);
		if (rc == 0)
			give_folder(s, path);
	}
	if (rc == 0)
		clean_all(s);
	else
		shelf_close(s);
	return rc;
}

void shelf_close(struct shelf *s)
{
	free(s->dir);
	s->dir = NULL;
}

/* ---- files ---- */

bool shelf_has(const struct shelf *s, const char *sha256, uint64_t size)
{
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
	cleanup_free char *above = mem_printf("%s/files", s->dir);
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
