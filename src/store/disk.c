#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "loop/file.h"

enum { COPY_BYTES = 128 << 10, COPY_RANGE_BYTES = 1 << 30 };

int disk__fail(struct err *err, int sys, const char *dir, const char *doing)
{
	if (sys == ENOSPC || sys == EDQUOT || sys == EFBIG)
		return err_set(err, E_NOSPACE,
			       "%s: no space left in %s: free some space on "
			       "its file system, then deploy again",
			       doing, dir);
	if (sys == EACCES || sys == EPERM || sys == EROFS)
		return err_set(err, E_FORBIDDEN,
			       "%s: cannot write in %s (%s): it must be "
			       "writable by the user who runs Soma",
			       doing, dir, strerror(sys));
	err_sys(err, sys, "%s in %s", doing, dir);
	if (err)
		err->code = E_IO; /* a file of ours that is not there is no 404
				   */
	return E_IO;
}

int disk__mkdir(const char *path, mode_t mode, struct err *err)
{
	if (mkdir(path, mode) == 0) {
		if (chmod(path, mode) != 0)
			return err_sys(err, errno, "cannot set the mode of %s",
				       path);
		return 0;
	}
	if (errno != EEXIST)
		return err_sys(err, errno, "cannot make directory %s", path);
	return 0;
}

static void clean(const char *path)
{
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

int disk__layout(const char *dir, struct err *err)
{
	cleanup_free char *blobs = mem_printf("%s/blobs", dir);
	cleanup_free char *projects = mem_printf("%s/projects", dir);
	int rc;

	rc = disk__mkdir(blobs, 0700, err);
	if (rc == 0)
		rc = disk__mkdir(projects, 0755, err);
	if (rc != 0)
		return rc;
	if (access(blobs, W_OK) != 0)
		return disk__fail(err, errno, blobs,
				  "opening the data "
				  "directory");
	if (access(projects, W_OK) != 0)
		return disk__fail(err, errno, projects,
				  "opening the data directory");
	clean(blobs);
	clean(projects);
	return 0;
}

char *disk__project_path(const char *dir, const char *hash)
{
	return mem_printf("%s/projects/%s", dir, hash);
}

char *disk__list_path(const char *dir, const char *hash)
{
	return mem_printf("%s/projects/.%s.list", dir, hash);
}

int disk__write(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
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

int disk__sync_dir(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0)
		return -errno;
	return 0;
}

static int copy_by_hand(int from, int to)
{
	cleanup_free char *piece = mem_alloc(COPY_BYTES);
	ssize_t n;
	int rc;

	for (;;) {
		n = read(from, piece, COPY_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		rc = disk__write(to, piece, (size_t)n);
		if (rc != 0)
			return rc;
	}
}

int disk__copy(int from, int to)
{
	ssize_t n;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	/* Both offsets move on, so the fallback goes on where this stopped. It
	 * runs at the end too: some file systems answer 0 for a file they
	 * cannot copy from. */
	do
		n = copy_file_range(from, NULL, to, NULL, COPY_RANGE_BYTES, 0);
	while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
		return -errno;
	return copy_by_hand(from, to);
}
