#include "box/cgfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"

bool cgfile_path(const struct cgroups *cg, enum cgroup_tree tree,
		 const char *leaf, const char *file, char out[PATH_MAX])
{
	int n;

	if (!cg->base[tree])
		return false;
	n = snprintf(out, PATH_MAX, "%s/%s%s%s%s%s", cg->base[tree],
		     cg->instance, leaf[0] ? "/" : "", leaf, file ? "/" : "",
		     file ? file : "");
	return n > 0 && n < PATH_MAX;
}

int cgfile_write(const struct cgroups *cg, const char *path, const char *text)
{
	/* The kernel makes its files with the directory; a stand-in for it
	 * does not. */
	int flags =
		O_WRONLY | O_CLOEXEC | (cg->root[0] ? O_CREAT | O_APPEND : 0);
	cleanup_close int fd = open(path, flags, 0644);

	if (fd < 0)
		return errno;
	return write(fd, text, strlen(text)) < 0 ? errno : 0;
}

int cgfile_read(const char *path, char *out, size_t size)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return errno;
	n = read(fd, out, size - 1);
	if (n < 0)
		return errno;
	out[n] = 0;
	return 0;
}

int cgfile_make(const char *path)
{
	return mkdir(path, 0755) && errno != EEXIST ? errno : 0;
}

int cgfile_each_dir(const char *path, int (*fn)(const char *path, void *arg),
		    void *arg)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int rc = 0;

	if (!dir)
		return errno;
	while (!rc && (e = readdir(dir))) {
		char below[PATH_MAX];
		struct stat st;
		int n;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		n = snprintf(below, sizeof below, "%s/%s", path, e->d_name);
		if (n < 0 || (size_t)n >= sizeof below || lstat(below, &st) ||
		    !S_ISDIR(st.st_mode))
			continue;
		rc = fn(below, arg);
	}
	closedir(dir);
	return rc;
}

struct removal {
	const struct cgroups *cg;
	int depth;
};

static int on_remove(const char *path, void *arg)
{
	const struct removal *r = arg;

	return cgfile_remove(r->cg, path, r->depth);
}

/* A stand-in's files do not go with their directory. */
static void unlink_files(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir)))
		unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
}

int cgfile_remove(const struct cgroups *cg, const char *path, int depth)
{
	struct removal r = {cg, depth - 1};

	if (depth > 0)
		cgfile_each_dir(path, on_remove, &r);
	if (cg->root[0])
		unlink_files(path);
	return rmdir(path) && errno != ENOENT ? errno : 0;
}

int64_t cgfile_number(const char *path, const char *key)
{
	char text[4096], *at = text, *end;
	long long v;

	if (cgfile_read(path, text, sizeof text))
		return -1;
	if (key) {
		size_t n = strlen(key);

		while (strncmp(at, key, n) != 0 || at[n] != ' ') {
			at = strchr(at, '\n');
			if (!at)
				return -1;
			at++;
		}
		at += n + 1;
	}
	errno = 0;
	v = strtoll(at, &end, 10);
	return end == at || errno || v < 0 ? -1 : (int64_t)v;
}

struct walk {
	void (*fn)(pid_t pid, void *arg);
	void *arg;
	int depth;
};

static int on_walk(const char *path, void *arg)
{
	const struct walk *w = arg;

	cgfile_each_pid(path, w->depth, w->fn, w->arg);
	return 0;
}

void cgfile_each_pid(const char *path, int depth,
		     void (*fn)(pid_t pid, void *arg), void *arg)
{
	struct walk w = {fn, arg, depth - 1};
	char file[PATH_MAX];
	int n = snprintf(file, sizeof file, "%s/cgroup.procs", path);
	FILE *f = n > 0 && (size_t)n < sizeof file ? fopen(file, "re") : NULL;
	long pid;

	if (f) {
		/* 0: a process of a namespace that ours does not see. */
		while (fscanf(f, "%ld", &pid) == 1)
			if (pid > 0)
				fn((pid_t)pid, arg);
		fclose(f);
	}
	if (depth > 0)
		cgfile_each_dir(path, on_walk, &w);
}
