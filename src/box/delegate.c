/* Version 2 passes controllers on only from groups without processes of their
 * own: how the instance gets below one. */
#include "box/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "box/cgfile.h"
#include "core/mem.h"

/* Only what was there goes down: each by itself, as one that is missing would
 * take the others with it. ENOENT: not the memory controller. */
static int hand_down(struct cgroups *cg, const char *dir)
{
	static const char *const wanted[] = {"+cpu", "+pids", "+memory"};
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/cgroup.subtree_control", dir);
	int sys = 0;

	if (n < 0 || (size_t)n >= sizeof path)
		return ENAMETOOLONG;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		sys = cgfile_write(cg, path, wanted[i]);
	return sys;
}

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512], *end;
	int ppid;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (cgfile_read(path, text, sizeof text))
		return -1;
	/* The name may hold anything, so from its last parenthesis on. */
	end = strrchr(text, ')');
	return end && sscanf(end, ") %*c %d", &ppid) == 1 ? ppid : -1;
}

static bool same_program(pid_t a, pid_t b)
{
	char path[64], one[PATH_MAX], other[PATH_MAX];
	ssize_t n, m;

	snprintf(path, sizeof path, "/proc/%d/exe", (int)a);
	n = readlink(path, one, sizeof one);
	snprintf(path, sizeof path, "/proc/%d/exe", (int)b);
	m = readlink(path, other, sizeof other);
	return n > 0 && n == m && memcmp(one, other, (size_t)n) == 0;
}

/* The keeper, when a daemon asks: the eldest above us that is Soma too. */
static pid_t eldest(void)
{
	pid_t at = getpid(), up;

	while ((up = parent_of(at)) > 1 && same_program(up, at))
		at = up;
	return at;
}

struct own {
	const struct cgroups *cg;
	const char *to; /* cgroup.procs to move to; NULL: only look */
	pid_t eldest;
	bool foreign;
	int sys;
};

static void on_own(pid_t pid, void *arg)
{
	struct own *own = arg;
	pid_t at = pid;
	char text[32];

	for (int i = 0; at > 1 && at != own->eldest && i < 64; i++)
		at = parent_of(at);
	if (at != own->eldest) {
		own->foreign = true;
		return;
	}
	if (own->to) {
		snprintf(text, sizeof text, "%d", (int)pid);
		own->sys = cgfile_write(own->cg, own->to, text);
	}
}

/* Makes the group we are in one without processes of its own. */
static int move_aside(struct cgroups *cg, const char *dir)
{
	cleanup_free char *leaf = mem_printf("%s/" CGFILE_MAIN, dir);
	cleanup_free char *procs = mem_printf("%s/cgroup.procs", leaf);
	struct own own = {.cg = cg, .eldest = eldest()};
	int sys;

	cgfile_each_pid(dir, 0, on_own, &own);
	if (own.foreign)
		return EBUSY;
	sys = cgfile_make(leaf);
	if (sys)
		return sys;
	own.to = procs;
	cgfile_each_pid(dir, 0, on_own, &own);
	return own.sys;
}

/* base and base/INSTANCE pass the memory controller on, or an errno. */
static int delegate(struct cgroups *cg, const char *base)
{
	cleanup_free char *ours = mem_printf("%s/%s", base, cg->instance);
	int sys = hand_down(cg, base);

	if (sys == EBUSY) {
		sys = move_aside(cg, base);
		if (!sys)
			sys = hand_down(cg, base);
	}
	if (sys)
		return sys;
	sys = cgfile_make(ours);
	return sys ? sys : hand_down(cg, ours);
}

int cgroups_prepare(struct cgroups *cg, struct err *err)
{
	char **unified = &cg->base[CGROUP_TREE_UNIFIED];
	char path[PATH_MAX];
	int sys = 0;

	if (cg->mode == CGROUP_V2) {
		sys = delegate(cg, *unified);
		/* A login session's group is not ours to empty. Root may go to
		 * the top, as container engines do; others stay without
		 * limits. */
		if (sys && strcmp(cg->top, *unified) != 0 &&
		    delegate(cg, cg->top) == 0) {
			free(*unified);
			*unified = mem_strdup(cg->top);
			sys = 0;
		}
		if (sys) {
			snprintf(cg->why, sizeof cg->why,
				 "control group %s does not pass the memory "
				 "controller on (%s); as a systemd service, "
				 "give it Delegate=yes",
				 *unified, strerror(sys));
			cg->mode = CGROUP_UNIFIED;
		}
	}
	for (enum cgroup_tree t = 0; t < CGROUP_TREES; t++) {
		int rc = 0;

		if (cgfile_path(cg, t, "", NULL, path))
			rc = cgfile_make(path);
		if (rc) {
			snprintf(cg->why, sizeof cg->why, "%.180s: %s", path,
				 strerror(rc));
			free(mem_take(&cg->base[t]));
			sys = rc;
		}
	}
	if (cg->mode == CGROUP_V1 && !cg->base[CGROUP_TREE_MEMORY] &&
	    !cg->why[0])
		snprintf(cg->why, sizeof cg->why,
			 "there is no memory control group");
	if (!cg->why[0])
		return 0;
	return err_set(err, E_UNAVAILABLE, "%s", cg->why);
}
