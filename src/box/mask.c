/* A directory that only its owner may enter, replaced by an empty one in which
 * only what the program is to see is there, at its old path. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/steps.h"
#include "core/mem.h"

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* Directories down to the last component of path, which is made as `is_dir`
 * says. */
static int make_way(const char *path, bool is_dir)
{
	cleanup_free char *p = mem_strdup(path);
	int fd;

	for (char *s = strchr(p + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = 0;
		if (mkdir(p, 0755) && errno != EEXIST)
			return -1;
		*s = '/';
	}
	if (is_dir)
		return mkdir(p, 0755) && errno != EEXIST ? -1 : 0;
	fd = open(p, O_CREAT | O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int bind_back(struct launch *l, const char *path, int fd)
{
	struct stat st;
	char source[64];

	if (fstat(fd, &st) || make_way(path, S_ISDIR(st.st_mode)))
		return fail_sys(l->f, "mask", errno,
				"making %s in the masked directory", path);
	snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
	if (mount(source, path, NULL, MS_BIND | MS_REC, NULL))
		return fail_sys(l->f, "mask", errno, "binding %s", path);
	return 0;
}

static int check(struct launch *l)
{
	const struct box_options *o = l->o;

	for (size_t b = 0; b < o->binds.n; b++) {
		bool inside = false;

		for (size_t i = 0; i < o->masks.n; i++)
			inside |= is_below(o->binds.item[b], o->masks.item[i]);
		if (!inside)
			return fail_set(l->f, "options", 0,
					"--bind %s lies below no --mask",
					o->binds.item[b]);
	}
	return 0;
}

int step_mask(struct launch *l)
{
	const struct box_options *o = l->o;
	int fds[BOX_LIST_MAX], rc = 0;
	size_t opened = 0;

	/* Without root nobody changes users, so nothing has to be opened up. */
	if (!o->masks.n || !l->root)
		return 0;
	if (check(l))
		return -1;
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		fail_sys(l->f, "mask", errno, "a mount namespace of its own");
		return fail_remedy(l->f,
				   "let every user enter %s (chmod o+x %s), or "
				   "keep Soma's data elsewhere, so that none "
				   "is wanted",
				   o->masks.item[0], o->masks.item[0]);
	}

	/* Opened before they are covered, and in this namespace: a mount of
	 * another cannot be bound. */
	for (; opened < o->binds.n && !rc; opened++) {
		fds[opened] = open(o->binds.item[opened], O_PATH | O_CLOEXEC);
		if (fds[opened] < 0) {
			rc = fail_sys(l->f, "mask", errno, "--bind %s",
				      o->binds.item[opened]);
			break;
		}
	}
	for (size_t i = 0; i < o->masks.n && !rc; i++) {
		struct masked *m = &l->masked[l->n_masked];

		m->path = o->masks.item[i];
		if (stat(m->path, &m->st) ||
		    mount("soma", m->path, "tmpfs", MS_NOSUID | MS_NODEV,
			  "mode=0755,size=1m"))
			rc = fail_sys(l->f, "mask", errno, "--mask %s",
				      m->path);
		else
			l->n_masked++;
	}
	for (size_t b = 0; b < o->binds.n && !rc; b++)
		rc = bind_back(l, o->binds.item[b], fds[b]);
	while (opened)
		close(fds[--opened]);
	return rc;
}
