/* Which descriptors the program inherits. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "box/steps.h"
#include "core/mem.h"

bool box__list(const char *text, void (*fn)(int n, void *arg), void *arg)
{
	const char *p = text;

	while (*p) {
		char *end;
		long from = strtol(p, &end, 10), to = from;

		if (end == p || from < 0 || from > 65535)
			return false;
		if (*end == '-') {
			p = end + 1;
			to = strtol(p, &end, 10);
			if (end == p || to < from || to > 65535)
				return false;
		}
		for (long n = from; n <= to; n++)
			fn((int)n, arg);
		if (*end == ',' && end[1])
			end++;
		else if (*end)
			return false;
		p = end;
	}
	return p != text;
}

struct kept {
	int fd[64]; /* ascending, without double ones */
	size_t n;
	bool full;
};

static void keep(int fd, void *arg)
{
	struct kept *k = arg;
	size_t i = k->n;

	for (size_t j = 0; j < k->n; j++)
		if (k->fd[j] == fd)
			return;
	if (k->n == ARRAY_LEN(k->fd)) {
		k->full = true;
		return;
	}
	for (; i && k->fd[i - 1] > fd; i--)
		k->fd[i] = k->fd[i - 1];
	k->fd[i] = fd;
	k->n++;
}

static void keep_open(int fd, void *arg)
{
	int flags = fcntl(fd, F_GETFD);

	(void)arg;
	if (flags >= 0)
		fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
}

static void close_between(unsigned from, unsigned to)
{
	struct rlimit limit;

	if (from > to || close_range(from, to, 0) == 0)
		return;
	/* Before Linux 5.9. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < to)
		to = (unsigned)limit.rlim_cur;
	for (unsigned fd = from; fd <= to; fd++)
		close((int)fd);
}

int step_fds(struct launch *l)
{
	const struct box_options *o = l->o;
	struct kept kept = {.fd = {0, 1, 2}, .n = 3};
	unsigned next = 3;

	/* A program that opens a file as its standard output is a riddle. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
			return fail_sys(l->f, "options", errno,
					"descriptor %d is closed", fd);
	if (o->keep_fds && (!box__list(o->keep_fds, keep, &kept) || kept.full))
		return fail_set(l->f, "options", 0,
				"--keep-fds wants numbers like 3,4, not '%s'",
				o->keep_fds);
	for (size_t i = 0; i < kept.n; i++)
		keep_open(kept.fd[i], NULL);
	/* The status pipe stays until exec closes it. */
	keep((int)o->status_fd, &kept);
	for (size_t i = 3; i < kept.n; i++) {
		close_between(next, (unsigned)kept.fd[i] - 1);
		next = (unsigned)kept.fd[i] + 1;
	}
	close_between(next, UINT_MAX);
	return 0;
}
