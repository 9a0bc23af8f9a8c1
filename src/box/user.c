/* Who the program is: user, groups, home and environment. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/box.h"
#include "box/steps.h"
#include "core/mem.h"

/* Through a descriptor: an earlier program of this user may have left, or be
 * making, a link there that points at what is not its own. */
static int own_dir(struct launch *l, const char *path)
{
	const struct box_options *o = l->o;
	cleanup_close int fd = -1;
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return fail_sys(l->f, "home", errno, "making %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return fail_sys(l->f, "home", errno, "opening %s", path);
	if (l->root && o->uid && (st.st_uid != o->uid || st.st_gid != o->gid) &&
	    fchown(fd, (uid_t)o->uid, (gid_t)o->gid))
		return fail_sys(l->f, "home", errno, "handing %s to uid %lld",
				path, (long long)o->uid);
	return 0;
}

int step_home(struct launch *l)
{
	cleanup_free char *tmp = NULL;

	if (!l->o->home)
		return 0;
	tmp = mem_printf("%s/tmp", l->o->home);
	return own_dir(l, l->o->home) || own_dir(l, tmp) ? -1 : 0;
}

int step_user(struct launch *l)
{
	const struct box_options *o = l->o;

	if (l->root && (o->uid || o->gid)) {
		gid_t gid = o->gid ? (gid_t)o->gid : getgid();
		uid_t uid = o->uid ? (uid_t)o->uid : getuid();

		if (setgroups(0, NULL) || setresgid(gid, gid, gid) ||
		    setresuid(uid, uid, uid))
			return fail_sys(l->f, "user", errno,
					"becoming uid %u, gid %u", uid, gid);
		/* Believed only when there is no way back. */
		if (uid && (setuid(0) == 0 || geteuid() != uid))
			return fail_set(l->f, "user", 0,
					"uid %u can become root again", uid);
		l->changed = o->uid != 0;
	}
	/* With it nothing below gains rights by exec: setuid programs,
	 * file capabilities. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return fail_sys(l->f, "user", errno, "no_new_privs");
	return 0;
}

/* Programs that count processors would take the whole machine's; these are
 * the ones that look here first. ONNX Runtime reads no variable: who starts
 * it takes SOMA_CPU_THREADS. */
static const char *const thread_vars[] = {
	"OMP_NUM_THREADS",     "MKL_NUM_THREADS",  "OPENBLAS_NUM_THREADS",
	"NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS", "RAYON_NUM_THREADS",
	"SOMA_CPU_THREADS",
};

/* Directories of whoever started Soma, of no use to another user. */
static const char *const dir_vars[] = {
	"HOME",		  "TMPDIR",	     "XDG_RUNTIME_DIR",
	"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
	"XDG_STATE_HOME",
};

/* Before anything is looked up in its PATH. */
int step_take_env(struct launch *l)
{
	int fd = (int)l->o->env_fd, sys;

	if (!fd) {
		env_copy(&l->env, environ);
		return 0;
	}
	sys = env_read(&l->env, fd);
	if (sys)
		return fail_sys(l->f, "environment", sys,
				"reading the program's environment");
	close(fd);
	return 0;
}

int step_environment(struct launch *l)
{
	const struct box_options *o = l->o;
	struct env *e = &l->env;

	if (o->name)
		env_set(e, BOX_ENV_REPLICA, o->name, true);
	if (o->instance)
		env_set(e, BOX_ENV_INSTANCE, o->instance, true);
	if (o->cpu_millis) {
		char text[32];

		snprintf(text, sizeof text, "%lld",
			 (long long)((o->cpu_millis + 999) / 1000));
		for (size_t i = 0; i < ARRAY_LEN(thread_vars); i++)
			env_set(e, thread_vars[i], text, false);
	}
	if (l->changed) {
		for (size_t i = 0; i < ARRAY_LEN(dir_vars); i++) {
			const char *dir = env_get(e, dir_vars[i]);

			if (dir && access(dir, W_OK | X_OK))
				env_unset(e, dir_vars[i]);
		}
		env_set(e, "USER", "soma", true);
		env_set(e, "LOGNAME", "soma", true);
		/* Not a place everybody can write: Python would take packages
		 * from there. */
		env_set(e, "HOME", "/nonexistent", false);
	}
	if (o->home) {
		cleanup_free char *tmp = mem_printf("%s/tmp", o->home);

		env_set(e, "HOME", o->home, true);
		env_set(e, "TMPDIR", tmp, true);
	}
	return 0;
}
