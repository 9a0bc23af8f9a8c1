#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/cgroup.h"
#include "box/report.h"
#include "box/steps.h"
#include "core/mem.h"

/* Set before the first wait for anything, and again once credentials have
 * changed, which clears it. The parent may be gone by then. */
int step_parent(struct launch *l)
{
	pid_t want = (pid_t)l->o->parent_pid;

	if (!want)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return fail_sys(l->f, "parent", errno, "PR_SET_PDEATHSIG");
	if (getppid() != want)
		return fail_set(l->f, "parent", 0,
				"process %d, which started it, is gone",
				(int)want);
	return 0;
}

int step_session(struct launch *l)
{
	/* Fails only for the leader of a group, who may lead a session too. */
	if (setsid() < 0 && getsid(0) != getpid())
		return fail_sys(l->f, "session", errno, "setsid");
	return 0;
}

/* A machine without control groups runs replicas too: what was asked for and
 * is not to be had is said in the replica's log. */
int step_cgroup(struct launch *l)
{
	const struct box_options *o = l->o;
	struct cgroup_limits limits = {
		.mem_bytes = o->mem_limit,
		.cpu_millis = o->cpu_weight ? o->cpu_weight : o->cpu_millis};
	const char *slash = o->cgroup ? strchr(o->cgroup, '/') : NULL;
	cleanup_free char *instance = NULL;
	struct cgroups cg;
	struct err err = {0};

	if (!o->cgroup) {
		if (o->mem_limit)
			fprintf(stderr, "soma box: --mem-limit has no effect "
					"without --cgroup\n");
		return 0;
	}
	if (!slash || slash == o->cgroup || !slash[1] ||
	    strchr(slash + 1, '/') || strstr(o->cgroup, ".."))
		return fail_set(l->f, "options", 0,
				"--cgroup wants INSTANCE/NAME, not '%s'",
				o->cgroup);
	instance = mem_strndup(o->cgroup, (size_t)(slash - o->cgroup));
	cgroups_init(&cg, instance, "");
	if (cgroup_create(&cg, slash + 1, &limits, &err) && o->mem_limit)
		fprintf(stderr, "soma box: mem_limit may not be enforced: %s\n",
			err.msg);
	cgroup_join(&cg, slash + 1, getpid(), NULL);
	cgroups_fini(&cg);
	return 0;
}

static void add_cpu(int n, void *arg)
{
	if (n < CPU_SETSIZE)
		CPU_SET((size_t)n, (cpu_set_t *)arg);
}

static int set_cpus(struct launch *l)
{
	const char *list = l->o->cpus;
	cpu_set_t set;

	if (!list)
		return 0;
	CPU_ZERO(&set);
	if (!box__list(list, add_cpu, &set))
		return fail_set(l->f, "options", 0,
				"--cpus wants a list like 0-3,8, not '%s'",
				list);
	if (sched_setaffinity(0, sizeof set, &set))
		return fail_sys(l->f, "limits", errno, "--cpus %s", list);
	return 0;
}

static int set_oom_score(struct launch *l)
{
	int fd, sys;
	char text[16];

	if (!l->o->has_oom_score_adj)
		return 0;
	snprintf(text, sizeof text, "%d", (int)l->o->oom_score_adj);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	sys = fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	/* Down is for root only, and nobody's mistake. */
	if (sys && l->root)
		return fail_sys(l->f, "limits", sys, "oom_score_adj %s", text);
	return 0;
}

int step_limits(struct launch *l)
{
	struct rlimit core = {0, 0}, files;
	rlim_t nofile = (rlim_t)l->o->nofile;

	/* A core of tens of gigabytes of weights fills the disk. */
	if (setrlimit(RLIMIT_CORE, &core))
		return fail_sys(l->f, "limits", errno, "RLIMIT_CORE");
	if (nofile) {
		if (getrlimit(RLIMIT_NOFILE, &files))
			return fail_sys(l->f, "limits", errno, "RLIMIT_NOFILE");
		if (l->root && files.rlim_max < nofile)
			files.rlim_max = nofile;
		files.rlim_cur = MIN(nofile, files.rlim_max);
		if (setrlimit(RLIMIT_NOFILE, &files))
			return fail_sys(l->f, "limits", errno,
					"RLIMIT_NOFILE %lld",
					(long long)l->o->nofile);
	}
	umask(022);
	return set_oom_score(l) || set_cpus(l) ? -1 : 0;
}

int step_signals(struct launch *l)
{
	struct sigaction reset = {.sa_handler = SIG_DFL};
	sigset_t none;

	(void)l;
	/* What was ignored stays ignored over exec: SIGPIPE of a daemon. */
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &reset, NULL); /* some cannot be set */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

/* The order matters: what needs root comes first; the parent is looked at
 * again when the kernel has forgotten the death signal; what is to be reached
 * is looked at as the user who has to. */
static int (*const steps[])(struct launch *l) = {
	step_parent,	  step_take_env, step_cgroup,  step_session,
	step_limits,	  step_home,	 step_look,    step_mask,
	step_user,	  step_parent,	 step_signals, step_fds,
	step_environment, step_dir,	 step_needs,   step_exec,
};

/* The pipe, or -1 when there is none and a person reads standard error. */
static int status_pipe(int fd)
{
	struct stat st;

	if (fstat(fd, &st) || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ||
	    !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -1;
	return fd;
}

int box_main(int argc, char **argv)
{
	struct box_options o;
	struct fail f = {.exit_code = BOX_EXIT_FAIL};
	struct launch l = {.o = &o, .f = &f, .root = geteuid() == 0};
	int status;

	if (options_parse(&o, argc, argv, &f)) {
		fail_tell(&f, status_pipe((int)o.status_fd));
		return f.exit_code;
	}
	if (o.help) {
		options_help(stdout);
		return 0;
	}
	if (o.report)
		return box_report(stdout);
	status = status_pipe((int)o.status_fd);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		if (steps[i](&l))
			break;
	fail_tell(&f, status);
	free(l.program_was);
	env_fini(&l.env);
	return f.exit_code;
}
