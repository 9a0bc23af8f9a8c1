/* What the kernel lets Soma do with its replicas. */
#include <errno.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/cgroup.h"
#include "cli/doctor.h"
#include "core/mem.h"

void doctor_kernel(struct doctor *d, struct finding *f)
{
	struct utsname u;
	int major = 0, minor = 0;
	bool old;

	(void)d;
	uname(&u);
	old = sscanf(u.release, "%d.%d", &major, &minor) != 2 || major < 5 ||
	      (major == 5 && minor < 9);
	finding_set(f, old ? DOCTOR_WARNING : DOCTOR_OK, "%s %s, %s%s",
		    u.sysname, u.release, u.machine,
		    old ? ", which Soma has not been tried with" : "");
}

void doctor_users(struct doctor *d, struct finding *f)
{
	(void)d;
	if (geteuid() == 0)
		finding_set(f, DOCTOR_OK,
			    "root: each api gets a user of its own");
	else
		finding_set(f, DOCTOR_NONE,
			    "user %u: replicas run as this user, and can read "
			    "its files",
			    (unsigned)geteuid());
}

void doctor_cgroups(struct doctor *d, struct finding *f)
{
	static const char *const names[CGROUP_TREES] = {
		[CGROUP_TREE_MEMORY] = "memory",
		[CGROUP_TREE_CPU] = "cpu",
		[CGROUP_TREE_PIDS] = "pids",
		[CGROUP_TREE_FREEZER] = "freezer",
	};
	struct cgroups cg;
	bool memory;

	(void)d;
	cgroups_init(&cg, "soma-doctor", "");
	memory = cg.mode == CGROUP_V2 ||
		 (cg.mode == CGROUP_V1 && cg.base[CGROUP_TREE_MEMORY]);
	finding_set(f, memory ? DOCTOR_OK : DOCTOR_WARNING, "%s",
		    cg.mode == CGROUP_NONE ? "none that can be used"
					   : cgroup_mode_name(cg.mode));
	for (size_t i = 0; cg.mode == CGROUP_V1 && i < CGROUP_TREES; i++)
		if (names[i] && cg.base[i])
			finding_add(f, "%s", names[i]);
	if (!memory)
		finding_add(f, "memory limits have no effect");
	if (cg.why[0])
		finding_add(f, "%s", cg.why);
	cgroups_fini(&cg);
}

/* In a child: a namespace cannot be left again. Returns an errno. */
static int try_namespace(int flags)
{
	pid_t pid = fork();
	int status = 0;

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(unshare(flags) ? errno : 0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

void doctor_namespaces(struct doctor *d, struct finding *f)
{
	bool root = geteuid() == 0;
	int own = try_namespace(CLONE_NEWNS);
	int by_user = own ? try_namespace(CLONE_NEWUSER | CLONE_NEWNS) : 0;

	(void)d;
	if (!own)
		finding_set(f, DOCTOR_OK, "can be made");
	else
		/* Without root there is nobody else's folder to pass. */
		finding_set(f, root ? DOCTOR_WARNING : DOCTOR_NONE,
			    "cannot be made (%s)%s", strerror(own),
			    by_user ? "" : "; in a user namespace they can be");
}

void doctor_seccomp(struct doctor *d, struct finding *f)
{
	(void)d;
	if (access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0)
		finding_set(f, DOCTOR_OK, "the kernel has it");
	else
		finding_set(f, DOCTOR_NONE, "the kernel does not have it");
}

void doctor_landlock(struct doctor *d, struct finding *f)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);

	(void)d;
	if (version > 0)
		finding_set(f, DOCTOR_OK, "version %ld of its interface",
			    version);
	else
		finding_set(f, DOCTOR_NONE, "the kernel does not offer it (%s)",
			    strerror(errno));
}
