/* One leaf: made, joined, killed, measured, removed. */
#include "box/cgroup.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "box/cgfile.h"
#include "core/mem.h"

/* Nothing of ours is nested deeper; bounds a walk over what replicas made. */
enum { DEPTH_MAX = 8 };

/* What stays undone of a create, joined for the reader. */
struct missed {
	char text[512];
	int sys;
};

static void miss(struct missed *m, const char *what, int sys)
{
	size_t n = strlen(m->text);

	if (!sys)
		return;
	m->sys = sys;
	snprintf(m->text + n, sizeof m->text - n, "%s%s (%s)", n ? ", " : "",
		 what, strerror(sys));
}

/* 0, an errno, or ENOENT when the tree is not there. */
static int set(struct cgroups *cg, enum cgroup_tree tree, const char *leaf,
	       const char *file, int64_t value)
{
	char path[PATH_MAX], text[32];

	if (!cgfile_path(cg, tree, leaf, file, path))
		return ENOENT;
	snprintf(text, sizeof text, "%lld", (long long)value);
	return cgfile_write(cg, path, text);
}

/* 100 in version 2 and 1024 in version 1 are the defaults, and here one
 * processor; 0, or an errno. */
static int set_weight(struct cgroups *cg, const char *leaf, int64_t millis)
{
	return cg->mode == CGROUP_V2
		       ? set(cg, CGROUP_TREE_UNIFIED, leaf, "cpu.weight",
			     MIN(MAX(millis / 10, 1), 10000))
		       : set(cg, CGROUP_TREE_CPU, leaf, "cpu.shares",
			     MIN(MAX(millis * 1024 / 1000, 2), 262144));
}

void cgroup_weigh(struct cgroups *cg, const char *leaf, int64_t cpu_millis)
{
	set_weight(cg, leaf, cpu_millis);
}

static void limit_v2(struct cgroups *cg, const char *leaf,
		     const struct cgroup_limits *l, struct missed *m)
{
	enum cgroup_tree t = CGROUP_TREE_UNIFIED;

	if (l->mem_bytes) {
		miss(m, "the memory limit",
		     set(cg, t, leaf, "memory.max", l->mem_bytes));
		/* Absent where the kernel does not account swap: then there
		 * is nothing to forbid. */
		set(cg, t, leaf, "memory.swap.max", 0);
	}
	/* A replica that lost one of its processes is of no use. */
	set(cg, t, leaf, "memory.oom.group", 1);
	if (l->cpu_millis)
		miss(m, "the processor weight",
		     set_weight(cg, leaf, l->cpu_millis));
	if (l->pids)
		miss(m, "the process limit",
		     set(cg, t, leaf, "pids.max", l->pids));
}

static void limit_v1(struct cgroups *cg, const char *leaf,
		     const struct cgroup_limits *l, struct missed *m)
{
	if (l->mem_bytes) {
		/* Only upwards may memory+swap pass first; a group that is
		 * left from before may have either order. */
		set(cg, CGROUP_TREE_MEMORY, leaf, "memory.memsw.limit_in_bytes",
		    l->mem_bytes);
		miss(m, "the memory limit",
		     set(cg, CGROUP_TREE_MEMORY, leaf, "memory.limit_in_bytes",
			 l->mem_bytes));
		set(cg, CGROUP_TREE_MEMORY, leaf, "memory.memsw.limit_in_bytes",
		    l->mem_bytes);
	}
	if (l->cpu_millis)
		miss(m, "the processor weight",
		     set_weight(cg, leaf, l->cpu_millis));
	if (l->pids)
		miss(m, "the process limit",
		     set(cg, CGROUP_TREE_PIDS, leaf, "pids.max", l->pids));
}

int cgroup_create(struct cgroups *cg, const char *leaf,
		  const struct cgroup_limits *limits, struct err *err)
{
	struct missed m = {.sys = 0};
	char path[PATH_MAX];

	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++) {
		int sys = 0;

		if (cgfile_path(cg, t, "", NULL, path))
			sys = cgfile_make(path);
		if (!sys && cgfile_path(cg, t, leaf, NULL, path))
			sys = cgfile_make(path);
		if (sys) {
			snprintf(m.text, sizeof m.text,
				 "its directory %.300s (%s)", path,
				 strerror(sys));
			m.sys = sys;
		}
	}
	if (cg->mode == CGROUP_V2)
		limit_v2(cg, leaf, limits, &m);
	else
		limit_v1(cg, leaf, limits, &m);
	if (!m.sys)
		return 0;
	return err_set(err, E_UNAVAILABLE,
		       "control group %s: this machine does not allow %s%s%s",
		       leaf, m.text, cg->why[0] ? "; " : "", cg->why);
}

int cgroup_join(struct cgroups *cg, const char *leaf, pid_t pid,
		struct err *err)
{
	char path[PATH_MAX], text[32];
	int joined = 0, sys = ENOENT;

	snprintf(text, sizeof text, "%d", (int)pid);
	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++) {
		int rc;

		if (!cgfile_path(cg, t, leaf, "cgroup.procs", path))
			continue;
		rc = cgfile_write(cg, path, text);
		if (rc)
			sys = rc;
		else
			joined++;
	}
	if (joined)
		return 0;
	return err_set(err, E_FORBIDDEN,
		       "process %d joins no control group %s: %s%s%s", (int)pid,
		       leaf, strerror(sys), cg->why[0] ? "; " : "", cg->why);
}

struct round {
	pid_t *seen; /* owned */
	size_t n, fresh;
	int sys;
};

static void on_kill(pid_t pid, void *arg)
{
	struct round *r = arg;

	for (size_t i = 0; i < r->n; i++)
		if (r->seen[i] == pid)
			return;
	if (kill(pid, SIGKILL) && errno != ESRCH)
		r->sys = errno;
	r->seen = mem_grow(r->seen, (r->n + 1) * sizeof *r->seen);
	r->seen[r->n++] = pid;
	r->fresh++;
}

static void freeze(struct cgroups *cg, const char *leaf, const char *state)
{
	char path[PATH_MAX];

	if (cgfile_path(cg, CGROUP_TREE_FREEZER, leaf, "freezer.state", path) &&
	    access(path, W_OK) == 0)
		cgfile_write(cg, path, state);
}

/* Process by process, until a look finds none that is new. */
static int kill_each(struct cgroups *cg, const char *leaf, struct err *err)
{
	struct round r = {.n = 0};
	char path[PATH_MAX];
	int rounds = 0;

	do {
		r.fresh = 0;
		for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++)
			if (cgfile_path(cg, t, leaf, NULL, path))
				cgfile_each_pid(path, DEPTH_MAX, on_kill, &r);
	} while (r.fresh && ++rounds < 64);
	free(r.seen);
	if (r.sys)
		return err_sys(err, r.sys, "killing what runs in group %s",
			       leaf);
	if (r.fresh)
		return err_set(err, E_BUSY,
			       "group %s forks faster than it is killed", leaf);
	return 0;
}

int cgroup_kill(struct cgroups *cg, const char *leaf, struct err *err)
{
	char path[PATH_MAX];
	int rc;

	/* At once and with what is being forked; Linux 5.14. A process may
	 * have joined another tree only, so the rest is looked at too. */
	if (cgfile_path(cg, CGROUP_TREE_UNIFIED, leaf, "cgroup.kill", path) &&
	    access(path, W_OK) == 0)
		cgfile_write(cg, path, "1");

	/* Frozen, nobody forks; the signals act when it thaws. */
	freeze(cg, leaf, "FROZEN");
	rc = kill_each(cg, leaf, err);
	freeze(cg, leaf, "THAWED");
	return rc;
}

struct pids {
	pid_t *pid; /* owned */
	size_t n;
};

static void on_count(pid_t pid, void *arg)
{
	struct pids *p = arg;

	for (size_t i = 0; i < p->n; i++)
		if (p->pid[i] == pid)
			return;
	p->pid = mem_grow(p->pid, (p->n + 1) * sizeof *p->pid);
	p->pid[p->n++] = pid;
}

size_t cgroup_count(struct cgroups *cg, const char *leaf)
{
	struct pids p = {.n = 0};
	char path[PATH_MAX];

	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++)
		if (cgfile_path(cg, t, leaf, NULL, path))
			cgfile_each_pid(path, DEPTH_MAX, on_count, &p);
	free(p.pid);
	return p.n;
}

int cgroup_remove(struct cgroups *cg, const char *leaf, struct err *err)
{
	char path[PATH_MAX];
	int sys = 0;

	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++) {
		int rc = 0;

		if (cgfile_path(cg, t, leaf, NULL, path))
			rc = cgfile_remove(cg, path, DEPTH_MAX);
		if (rc)
			sys = rc;
	}
	if (!sys)
		return 0;
	return err_set(err, sys == EBUSY ? E_BUSY : E_IO,
		       "removing control group %s: %s", leaf, strerror(sys));
}

bool cgroup_usage(struct cgroups *cg, const char *leaf,
		  struct cgroup_usage *ret)
{
	bool v2 = cg->mode == CGROUP_V2;
	enum cgroup_tree t = v2 ? CGROUP_TREE_UNIFIED : CGROUP_TREE_MEMORY;
	struct cgroup_usage u;
	char path[PATH_MAX];

#define NUMBER(file, key)                                                      \
	(cgfile_path(cg, t, leaf, file, path) ? cgfile_number(path, key) : -1)
	u.mem_bytes =
		NUMBER(v2 ? "memory.current" : "memory.usage_in_bytes", NULL);
	u.mem_peak_bytes =
		NUMBER(v2 ? "memory.peak" : "memory.max_usage_in_bytes", NULL);
	u.mem_limit_bytes =
		NUMBER(v2 ? "memory.max" : "memory.limit_in_bytes", NULL);
	u.oom_kills =
		NUMBER(v2 ? "memory.events" : "memory.oom_control", "oom_kill");
	u.limit_hits = v2 ? NUMBER("memory.events", "max")
			  : NUMBER("memory.failcnt", NULL);
#undef NUMBER
	if (u.mem_bytes < 0 && u.oom_kills < 0)
		return false;
	/* "max" in version 2, a number near 2^63 in version 1. */
	if (u.mem_limit_bytes < 0 || u.mem_limit_bytes > INT64_MAX / 2)
		u.mem_limit_bytes = 0;
	*ret = u;
	return true;
}

static int64_t own_number(const struct cgroups *cg, enum cgroup_tree t,
			  const char *file, const char *key)
{
	char path[PATH_MAX];

	if (!cg->base[t] || snprintf(path, sizeof path, "%s/%s", cg->base[t],
				     file) >= (int)sizeof path)
		return -1;
	return cgfile_number(path, key);
}

bool cgroup_left(const struct cgroups *cg, uint64_t *ret_limit,
		 uint64_t *ret_left)
{
	bool v2 = cg->mode == CGROUP_V2;
	enum cgroup_tree t = v2 ? CGROUP_TREE_UNIFIED : CGROUP_TREE_MEMORY;
	int64_t limit = own_number(
		cg, t, v2 ? "memory.max" : "memory.limit_in_bytes", NULL);
	int64_t used, idle, active;

	/* "max" in version 2, a number near 2^63 in version 1. */
	if (limit < 0 || limit > INT64_MAX / 2)
		return false;
	used = own_number(
		cg, t, v2 ? "memory.current" : "memory.usage_in_bytes", NULL);
	idle = own_number(cg, t, "memory.stat",
			  v2 ? "inactive_file" : "total_inactive_file");
	active = own_number(cg, t, "memory.stat",
			    v2 ? "active_file" : "total_active_file");
	if (used < 0)
		return false;
	used -= MIN(MAX(idle, (int64_t)0) + MAX(active, (int64_t)0), used);
	*ret_limit = (uint64_t)limit;
	*ret_left = (uint64_t)(limit - MIN(used, limit));
	return true;
}
