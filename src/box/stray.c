#include "box/stray.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "box/box.h"
#include "core/mem.h"

enum { ENVIRON_MAX = 256 * 1024, ROUNDS_MAX = 16 };

struct want {
	const char *instance, *replica; /* NULL: any */
	pid_t session;			/* or 0 */
	char *text;			/* owned: ENVIRON_MAX bytes */
};

static bool has(const char *env, size_t len, const char *name,
		const char *value)
{
	size_t n = strlen(name), m = strlen(value);

	for (const char *p = env, *end = env + len; p < end;) {
		size_t left = (size_t)(end - p), one = strnlen(p, left);

		if (one == n + 1 + m && memcmp(p, name, n) == 0 &&
		    p[n] == '=' && memcmp(p + n + 1, value, m) == 0)
			return true;
		p += one + 1;
	}
	return false;
}

static size_t read_environ(int dir, char *out)
{
	cleanup_close int fd = openat(dir, "environ", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while (len < ENVIRON_MAX &&
	       (n = read(fd, out + len, ENVIRON_MAX - len)) > 0)
		len += (size_t)n;
	return len;
}

/* Zombies have no environment, and a session still. */
static bool in_session(int dir, pid_t session)
{
	cleanup_close int fd = openat(dir, "stat", O_RDONLY | O_CLOEXEC);
	char text[512], state, *end;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	int sid;

	if (n <= 0)
		return false;
	text[n] = 0;
	end = strrchr(text, ')');
	return end && sscanf(end, ") %c %*d %*d %d", &state, &sid) == 2 &&
	       state != 'Z' && sid == session;
}

bool box_belongs(pid_t pid, pid_t leader, const char *replica_id)
{
	cleanup_free char *path = mem_printf("/proc/%d", (int)pid);
	cleanup_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_free char *text = NULL;

	if (dir < 0)
		return false;
	if (in_session(dir, leader))
		return true;
	text = mem_alloc(ENVIRON_MAX);
	return has(text, read_environ(dir, text), BOX_ENV_REPLICA, replica_id);
}

/* Whether it was one and was signalled. The directory of a process stays its
 * own when the number is given to another, and so does a pidfd: who is looked
 * at is who is killed. */
static bool kill_one(const struct want *w, int proc, const char *name)
{
	pid_t pid = (pid_t)strtol(name, NULL, 10);
	cleanup_close int handle = (int)syscall(SYS_pidfd_open, pid, 0);
	cleanup_close int dir = -1;
	size_t len;

	if (handle < 0 && errno != ENOSYS)
		return false;
	dir = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return false;
	if (w->session) {
		if (!in_session(dir, w->session))
			return false;
	} else {
		len = read_environ(dir, w->text);
		if ((w->instance &&
		     !has(w->text, len, BOX_ENV_INSTANCE, w->instance)) ||
		    (w->replica &&
		     !has(w->text, len, BOX_ENV_REPLICA, w->replica)))
			return false;
	}
	if (handle < 0)
		return kill(pid, SIGKILL) == 0;
	return syscall(SYS_pidfd_send_signal, handle, SIGKILL, NULL, 0) == 0;
}

static int kill_all(const struct want *w)
{
	int total = 0;

	/* A killed process is listed until it is gone; looking twice finds
	 * what it forked before. */
	for (int round = 0; round < ROUNDS_MAX; round++) {
		DIR *proc = opendir("/proc");
		struct dirent *e;
		int hit = 0;

		if (!proc)
			break;
		while ((e = readdir(proc))) {
			if (!isdigit((unsigned char)e->d_name[0]) ||
			    strtol(e->d_name, NULL, 10) == getpid())
				continue;
			hit += kill_one(w, dirfd(proc), e->d_name);
		}
		closedir(proc);
		if (round == 0)
			total = hit;
		else if (hit > total)
			total = hit;
		if (!hit)
			break;
	}
	return total;
}

int box_kill_strays(const char *instance, const char *replica_id)
{
	cleanup_free char *text = mem_alloc(ENVIRON_MAX);
	struct want w = {
		.instance = instance, .replica = replica_id, .text = text};

	assert(instance || replica_id);
	return kill_all(&w);
}

int box_kill_session(pid_t leader)
{
	struct want w = {.session = leader};

	assert(leader > 1);
	/* Gone with its leader or not, a group is one call. */
	kill(-leader, SIGKILL);
	return kill_all(&w);
}
