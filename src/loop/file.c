#include "loop/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/mem.h"

int file_read(const char *path, size_t max, char **ret, size_t *ret_len,
	      struct err *err)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct buf b;
	ssize_t n;

	if (fd < 0)
		return err_sys(err, errno, "opening '%s'", path);
	buf_init(&b, max);
	for (;;) {
		char piece[16384];

		n = read(fd, piece, sizeof piece);
		if (n <= 0)
			break;
		if (buf_add(&b, piece, (size_t)n)) {
			buf_fini(&b);
			return err_set(err, E_TOOBIG,
				       "'%s' is larger than %zu bytes", path,
				       max);
		}
	}
	if (n < 0) {
		int sys = errno;

		buf_fini(&b);
		return err_sys(err, sys, "reading '%s'", path);
	}
	*ret = buf_take(&b, ret_len);
	return 0;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_write(const char *path, const void *data, size_t len, mode_t mode,
	       struct err *err)
{
	cleanup_free char *tmp = mem_printf("%s.tmp.%d", path, (int)getpid());
	cleanup_close int fd = -1;
	int rc;

	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(err, errno, "creating '%s'", tmp);
	rc = write_all(fd, data, len);
	if (!rc && fchmod(fd, mode) < 0)
		rc = -errno;
	if (!rc && fsync(fd) < 0)
		rc = -errno;
	if (!rc && rename(tmp, path) < 0)
		rc = -errno;
	if (rc) {
		unlink(tmp);
		return err_sys(err, -rc, "writing '%s'", path);
	}
	return 0;
}

int file_mkdirs(const char *path, mode_t mode, struct err *err)
{
	cleanup_free char *part = mem_strdup(path);

	for (char *p = part + 1;; p++) {
		char was = *p;

		if (was != '/' && was)
			continue;
		*p = 0;
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return err_sys(err, errno, "creating directory '%s'",
				       part);
		*p = was;
		if (!was)
			return 0;
	}
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int file_remove_tree(const char *path, struct err *err)
{
	if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) < 0 &&
	    errno != ENOENT)
		return err_sys(err, errno, "removing '%s'", path);
	return 0;
}

int file_copy(const char *from, const char *to, mode_t mode, struct err *err)
{
	char *data;
	size_t len;
	int rc = file_read(from, (size_t)1 << 30, &data, &len, err);

	if (rc)
		return rc;
	rc = file_write(to, data, len, mode, err);
	free(data);
	return rc;
}
