/* shelf_open.c: the folders of a shelf, and who owns them. */
#include "store/shelf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/file.h"
#include "store/shelf_parts.h"

static const struct {
	const char *name;
	mode_t mode;
} folders[] = {
	{"files", 0755}, {"trees", 0755}, {"refs", 0700}, {"parts", 0700}};

/* ---- what was left half done ---- */

static void clean(const struct shelf *s, const char *folder)
{
	cleanup_free char *path = mem_printf("%s/%s", s->at, folder);
	DIR *d = shelf__opendir(path);
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

/* Unless somebody may be at it. */
static void clean_all(const struct shelf *s)
{
	cleanup_close int lock = -1, refs = -1;

	if (shelf__lock(s, ".lock", LOCK_EX | LOCK_NB, &lock, NULL) != 0 ||
	    shelf__lock(s, "refs/.lock", LOCK_EX | LOCK_NB, &refs, NULL) != 0)
		return;
	clean(s, "files");
	clean(s, "trees");
	clean(s, "refs");
}

/* ---- as the user that we are ---- */

static int make_folders(const struct shelf *s, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		cleanup_free char *path =
			mem_printf("%s/%s", s->dir, folders[i].name);
		int rc;

		if (access(path, F_OK) == 0)
			continue;
		rc = disk__mkdir(path, folders[i].mode, err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ---- by root, for another ---- */

static int give_tree(int folder, uid_t from, uid_t to);

/* What is open here cannot become another between the look and the gift. */
static int give_entry(int folder, const char *name, uid_t from, uid_t to)
{
	cleanup_close int fd =
		openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return errno == ENOENT ? 0 : errno;
	/* What is not theirs may have been linked here by them. */
	if (st.st_uid != from)
		return 0;
	if (S_ISDIR(st.st_mode)) {
		int rc, dir = openat(fd, ".",
				     O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0)
			return errno;
		rc = give_tree(dir, from, to);
		close(dir);
		return rc;
	}
	return fchownat(fd, "", to, to, AT_EMPTY_PATH) == 0 ? 0 : errno;
}

/* The folder itself last: a gift that was cut short begins again. */
static int give_tree(int folder, uid_t from, uid_t to)
{
	int again = dup(folder), rc = 0;
	DIR *d = again < 0 ? NULL : fdopendir(again);
	struct dirent *e;

	if (!d) {
		rc = errno;
		if (again >= 0)
			close(again);
		return rc;
	}
	while (rc == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = give_entry(dirfd(d), e->d_name, from, to);
	closedir(d);
	return rc == 0 && fchown(folder, to, to) != 0 ? errno : rc;
}

static int give_folder(const struct shelf *s, const char *name, mode_t mode,
		       struct err *err)
{
	cleanup_close int fd = -1;
	struct stat st;
	int rc = 0;

	if (mkdirat(s->fd, name, 0700) != 0 && errno != EEXIST)
		return shelf__fail(s, errno, "making the store of models", err);
	fd = openat(s->fd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return err_set(err, E_CONFLICT,
			       "%s/%s is no folder, and nothing is followed or "
			       "replaced there: look at what it is, remove it, "
			       "and start again",
			       s->dir, name);
	if (fd < 0 || fstat(fd, &st) != 0)
		return shelf__fail(s, errno, "opening the store of models",
				   err);
	if (st.st_uid != s->uid)
		rc = give_tree(fd, st.st_uid, s->uid);
	if (rc == 0 && (st.st_mode & 07777) != mode && fchmod(fd, mode) != 0)
		rc = errno;
	return rc == 0 ? 0
		       : shelf__fail(s, rc, "giving models to their user", err);
}

/* Made by us, for who fetches may make nothing beside it. */
static int give_lock(const struct shelf *s, struct err *err)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (fstatat(s->fd, ".lock", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) && st.st_uid == s->uid)
		return 0;
	unlinkat(s->fd, ".lock", 0);
	fd = openat(s->fd, ".lock",
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fchown(fd, s->uid, s->uid) != 0)
		return shelf__fail(s, errno, "locking the models", err);
	return 0;
}

/* The folder is root's, so that no name in it becomes another by whoever owns
 * what is inside. On a disk that cannot be written all is as it is. */
static int give(struct shelf *s, struct err *err)
{
	struct stat st;
	int rc = 0;

	s->fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		return shelf__fail(s, errno, "opening the store of models",
				   err);
	if ((st.st_uid != 0 || (st.st_mode & 07777) != 0755) &&
	    (fchown(s->fd, 0, 0) != 0 || fchmod(s->fd, 0755) != 0))
		return shelf__fail(s, errno, "opening the store of models",
				   err);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(folders); i++)
		rc = give_folder(s, folders[i].name, folders[i].mode, err);
	return rc == 0 ? give_lock(s, err) : rc;
}

static int try_guise(const struct shelf *s, struct err *err)
{
	struct shelf_guise g;
	bool worn = shelf__wear(&g, s);

	shelf__take_off(&g);
	return worn ? 0
		    : err_set(err, E_FORBIDDEN,
			      "cannot act as user %u, whom the models in %s "
			      "are for: the kernel does not let this process "
			      "change its user (CAP_SETUID, CAP_SETGID)",
			      (unsigned)s->uid, s->dir);
}

/* ---- opening ---- */

static int make_dir(const char *dir, struct err *err)
{
	if (mkdir(dir, 0755) == 0)
		return chmod(dir, 0755) == 0
			       ? 0
			       : err_sys(err, errno,
					 "cannot set the mode of %s", dir);
	if (errno == EEXIST)
		return 0;
	/* No E_NOTFOUND: it is no model that is missing. */
	if (errno == ENOENT || errno == ENOTDIR)
		return err_set(err, E_INVALID,
			       "models cannot be kept in '%s': the folder that "
			       "it would be in is not there; make it, or name "
			       "another place",
			       dir);
	return err_sys(err, errno, "cannot make directory %s", dir);
}

static int open_folders(struct shelf *s, struct err *err)
{
	int rc;

	if (s->uid == 0) {
		s->at = mem_strdup(s->dir);
		return make_folders(s, err);
	}
	s->dumpable = prctl(PR_GET_DUMPABLE) == 1;
	rc = give(s, err);
	/* Its user may have no way to it from above. */
	s->at = mem_printf("/proc/self/fd/%d", s->fd);
	return rc == 0 ? try_guise(s, err) : rc;
}

int shelf_open_as(struct shelf *s, const char *dir, uid_t uid, struct err *err)
{
	int rc = make_dir(dir, err);

	*s = (struct shelf){.uid = uid, .fd = -1};
	if (rc != 0)
		return rc;
	s->dir = realpath(dir, NULL);
	if (!s->dir)
		return err_sys(err, errno, "cannot use directory %s", dir);
	rc = open_folders(s, err);
	if (rc == 0) {
		cleanup_guise struct shelf_guise g = shelf__worn(s);

		clean_all(s);
	} else {
		shelf_close(s);
	}
	return rc;
}

int shelf_open(struct shelf *s, const char *dir, struct err *err)
{
	return shelf_open_as(s, dir, 0, err);
}

void shelf_close(struct shelf *s)
{
	free(mem_take(&s->dir));
	free(mem_take(&s->at));
	if (s->uid != 0 && s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}
