/* What was forked into one group, and is to be in another. */
#include "box/cgroup.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "box/cgfile.h"
#include "box/stray.h"

enum { ROUNDS_MAX = 16, STRANGERS_MAX = 64 };

struct move {
	struct cgroups *cg;
	const char *to;
	pid_t leader;
	unsigned found; /* in this round */
	struct err why; /* the last that could not be moved */
	/* The zygote and what else it forked: in every hierarchy again. */
	pid_t strangers[STRANGERS_MAX];
	unsigned n_strangers;
};

static bool is_stranger(struct move *m, pid_t pid)
{
	if (pid == m->leader)
		return false;
	for (unsigned i = 0; i < m->n_strangers; i++)
		if (m->strangers[i] == pid)
			return true;
	if (box_belongs(pid, m->leader, m->to))
		return false;
	if (m->n_strangers < STRANGERS_MAX)
		m->strangers[m->n_strangers++] = pid;
	return true;
}

static void on_pid(pid_t pid, void *arg)
{
	struct move *m = arg;

	if (is_stranger(m, pid))
		return;
	m->found++;
	cgroup_join(m->cg, m->to, pid, &m->why);
}

/* A process that has ended and was not waited for has its number still. */
static bool is_there(pid_t leader, int handle)
{
	if (leader <= 1)
		return false;
	return (handle >= 0 ? syscall(SYS_pidfd_send_signal, handle, 0, NULL, 0)
			    : kill(leader, 0)) == 0 ||
	       errno == EPERM;
}

int cgroup_move(struct cgroups *cg, const char *from, const char *to,
		pid_t leader, int handle, struct err *err)
{
	struct move m = {.cg = cg, .to = to, .leader = leader};
	char path[PATH_MAX];

	/* The last look finds nobody. */
	for (int round = 0; round < ROUNDS_MAX; round++) {
		if (!is_there(leader, handle))
			return err_set(err, E_NOTFOUND, "process %d is gone",
				       (int)leader);
		m.found = 0;
		for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++)
			if (cgfile_path(cg, t, from, NULL, path))
				cgfile_each_pid(path, 0, on_pid, &m);
		if (!m.found)
			return 0;
	}
	return err_set(err, E_FORBIDDEN,
		       "replica %s stays in the control group of %s: %s", to,
		       from, m.why.code ? m.why.msg : "it forks too fast");
}
