#include "box/report.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/cgroup.h"
#include "core/mem.h"

static void line(FILE *out, const char *name, bool yes, const char *why)
{
	fprintf(out, "%-18s %s%s%s%s\n", name, yes ? "yes" : "no",
		why[0] ? " (" : "", why, why[0] ? ")" : "");
}

/* In a child: a namespace cannot be left again. Returns an errno. */
static int try_namespace(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(unshare(CLONE_NEWNS) ? errno : 0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static void report_tree(FILE *out, const struct cgroups *cg,
			enum cgroup_tree tree, const char *name)
{
	line(out, name, cg->base[tree] != NULL,
	     cg->base[tree] ? cg->base[tree] : "not mounted or not writable");
}

int box_report(FILE *out)
{
	bool root = geteuid() == 0;
	struct cgroups cg;
	int sys = try_namespace();
	int closes = close_range(~0U, ~0U, 0) == 0;

	cgroups_init(&cg, "soma-report", "");
	line(out, "root", root, "");
	line(out, "own users", root,
	     root ? "" : "replicas run as the user who starts Soma");
	line(out, "mount namespace", !sys, sys ? strerror(sys) : "");
	line(out, "no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0,
	     "");
	line(out, "close_range", closes, closes ? "" : "Linux before 5.9");
	fprintf(out, "%-18s %s%s%s%s\n", "control groups",
		cgroup_mode_name(cg.mode), cg.why[0] ? " (" : "", cg.why,
		cg.why[0] ? ")" : "");
	report_tree(out, &cg, CGROUP_TREE_UNIFIED, "  unified");
	if (cg.mode == CGROUP_V1) {
		report_tree(out, &cg, CGROUP_TREE_MEMORY, "  memory");
		report_tree(out, &cg, CGROUP_TREE_CPU, "  cpu");
		report_tree(out, &cg, CGROUP_TREE_PIDS, "  pids");
		report_tree(out, &cg, CGROUP_TREE_FREEZER, "  freezer");
	}
	line(out, "memory limits",
	     cg.mode == CGROUP_V2 ||
		     (cg.mode == CGROUP_V1 && cg.base[CGROUP_TREE_MEMORY]),
	     cg.mode == CGROUP_V2 || cg.base[CGROUP_TREE_MEMORY]
		     ? ""
		     : "mem_limit has no effect");
	cgroups_fini(&cg);
	return 0;
}
