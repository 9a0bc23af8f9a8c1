#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "box/cgfile.h"
#include "box/cgroup.h"
#include "box/options.h"
#include "box/reach.h"
#include "box/stray.h"
#include "tmpdir.h"

/* For move_aside, which only a kernel's EBUSY leads to. */
#include "box/delegate.c"

enum { NOBODY = 65534 };

/* --- helpers ---------------------------------------------------------- */

static void put(const char *dir, const char *name, const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	FILE *f;

	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		mkdir(path, 0755);
		*p = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void assert_file(const char *dir, const char *name, const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	char got[512];

	assert_int_equal(cgfile_read(path, got, sizeof got), 0);
	assert_string_equal(got, text);
}

static bool is_there(const char *dir, const char *name)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

/* A process that sleeps; with `env` when it is to carry a mark. */
static pid_t sleeper(char *const env[])
{
	pid_t pid = fork();

	if (pid == 0) {
		static char name[] = "sleep", arg[] = "60";
		char *argv[] = {name, arg, NULL};

		execve("/bin/sleep", argv, env);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

/* Until its environment is the new program's. */
static void wait_for_exec(pid_t pid)
{
	char path[64], text[64];

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	for (int i = 0; i < 2000; i++) {
		if (cgfile_read(path, text, sizeof text) == 0 &&
		    strcmp(text, "sleep\n") == 0)
			return;
		usleep(1000);
	}
	fail_msg("sleep did not start");
}

static int killed_by(pid_t pid)
{
	int status = 0;

	for (int i = 0; i < 5000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
		usleep(1000);
	}
	return -1;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* --- options ---------------------------------------------------------- */

static int parse(struct box_options *o, struct fail *f, const char *line)
{
	static char text[1024];
	static char *argv[64];
	int argc = 0;
	char *save = NULL;

	snprintf(text, sizeof text, "box %s", line);
	for (char *p = strtok_r(text, " ", &save); p;
	     p = strtok_r(NULL, " ", &save))
		argv[argc++] = p;
	argv[argc] = NULL;
	return options_parse(o, argc, argv, f);
}

static void options_are_read(void **state)
{
	struct box_options o;
	struct fail f;

	(void)state;
	assert_int_equal(parse(&o, &f,
			       "--name iris-4-0 --uid 61187 --need=/a --need "
			       "/b --oom-score-adj -17 -- prog --uid 3"),
			 0);
	assert_string_equal(o.name, "iris-4-0");
	assert_int_equal(o.uid, 61187);
	assert_int_equal(o.gid, 61187);
	assert_int_equal(o.oom_score_adj, -17);
	assert_true(o.has_oom_score_adj);
	assert_int_equal(o.needs.n, 2);
	assert_string_equal(o.needs.item[1], "/b");
	assert_string_equal(o.program[0], "prog");
	assert_string_equal(o.program[1], "--uid");
	assert_int_equal(o.status_fd, 5);
}

static void wrong_options_are_named(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{"--uid x -- p", "--uid wants a number from 0"},
		{"--uid -1 -- p", "not '-1'"},
		{"--uid 99999999999 -- p", "not '99999999999'"},
		{"--nosuch 1 -- p", "unknown option '--nosuch'"},
		{"--report=1", "unknown option '--report=1'"},
		{"--uid", "--uid wants N"},
		{"--need rel -- p", "absolute path, not 'rel'"},
		{"--uid 5", "no program to run"},
		{"--uid 5 --", "no program to run"},
	};
	struct box_options o;
	struct fail f;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(parse(&o, &f, cases[i].line), -1);
		assert_string_equal(f.step, "options");
		assert_non_null(strstr(f.message, cases[i].says));
	}
}

/* --- reach ------------------------------------------------------------ */

static void reach_names_the_first_that_blocks(void **state)
{
	char *dir = tmpdir_make();
	cleanup_free char *real = realpath(dir, NULL);
	cleanup_free char *shut = mem_printf("%s/shut", real);
	cleanup_free char *deep = mem_printf("%s/shut/a/b/file", real);
	cleanup_free char *link = mem_printf("%s/link", real);
	cleanup_free char *path = mem_printf("%s/link/b/../b/./file", real);
	char words[512];
	struct reach r;

	(void)state;
	chmod(dir, 0755);
	put(dir, "shut/a/b/file", "x");
	put(dir, "open/file", "x");
	assert_int_equal(symlink("shut/a", link), 0);
	assert_int_equal(reach_check(path, R_OK, &r), REACH_OK);
	assert_string_equal(r.where, deep);

	chmod(shut, 0700);
	/* Root is let in everywhere. */
	if (geteuid() == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	else
		chmod(shut, 0600);
	assert_int_equal(reach_check(path, R_OK, &r), REACH_BLOCKED);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_string_equal(r.where, shut);
	assert_int_equal(r.sys, EACCES);
	if (getuid() == 0) {
		cleanup_free char *says = mem_printf(
			"%s is only for its owner (mode 0700)", shut);

		assert_string_equal(reach_words(&r, words, sizeof words), says);
		assert_non_null(strstr(reach_remedy(&r, words, sizeof words),
				       "chmod o+x"));
	}
	chmod(shut, 0755);
	tmpdir_remove(dir);
}

static void reach_tells_the_kinds_apart(void **state)
{
	char *dir = tmpdir_make();
	cleanup_free char *file = mem_printf("%s/file", dir);
	cleanup_free char *below = mem_printf("%s/file/x", dir);
	cleanup_free char *none = mem_printf("%s/no/such", dir);
	cleanup_free char *loop = mem_printf("%s/loop", dir);
	cleanup_free char *dangling = mem_printf("%s/dangling", dir);
	struct reach r;

	(void)state;
	put(dir, "file", "x");
	assert_int_equal(symlink("loop", loop), 0);
	assert_int_equal(symlink("gone", dangling), 0);
	assert_int_equal(reach_check(file, R_OK, &r), REACH_OK);
	assert_int_equal(reach_check(file, X_OK, &r), REACH_NOT_EXEC);
	assert_int_equal(reach_check(below, R_OK, &r), REACH_NOT_DIR);
	assert_int_equal(reach_check(none, R_OK, &r), REACH_MISSING);
	assert_non_null(strstr(r.where, "/no"));
	assert_null(strstr(r.where, "such"));
	assert_int_equal(reach_check(dangling, R_OK, &r), REACH_MISSING);
	assert_non_null(strstr(r.where, "/gone"));
	assert_int_equal(reach_check(loop, R_OK, &r), REACH_FAILED);
	assert_int_equal(r.sys, ELOOP);
	assert_int_equal(reach_check("/", R_OK, &r), REACH_OK);
	assert_string_equal(r.where, "/");
	assert_int_equal(reach_check("/../..", R_OK, &r), REACH_OK);
	assert_int_equal(reach_check(".", R_OK, &r), REACH_OK);
	assert_int_equal(reach_check(dir, X_OK, &r), REACH_NOT_EXEC);
	tmpdir_remove(dir);
}

static void blocked_ancestors_are_found(void **state)
{
	char *dir = tmpdir_make();
	cleanup_free char *real = realpath(dir, NULL);
	cleanup_free char *mid = mem_printf("%s/a/b", real);
	cleanup_free char *leaf = mem_printf("%s/a/b/c", real);
	cleanup_free char *absent = mem_printf("%s/a/b/d/e", real);
	char *got;

	(void)state;
	put(dir, "a/b/c/file", "x");
	chmod(dir, 0755);
	assert_null(box_blocked_ancestor(leaf));
	assert_null(box_blocked_ancestor("/"));

	/* Itself is not an ancestor. */
	chmod(leaf, 0700);
	assert_null(box_blocked_ancestor(leaf));
	chmod(mid, 0750);
	got = box_blocked_ancestor(leaf);
	assert_string_equal(got, mid);
	free(got);
	got = box_blocked_ancestor(absent);
	assert_string_equal(got, mid);
	free(got);
	chmod(dir, 0700);
	got = box_blocked_ancestor(leaf);
	assert_string_equal(got, real);
	free(got);
	tmpdir_remove(dir);
}

/* --- control groups, on a directory that stands in for the kernel's --- */

static const char V2_MOUNTS[] =
	"22 1 0:20 / / rw - ext4 /dev/sda rw\n"
	"30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 "
	"rw,nsdelegate\n";

static char *v2_machine(struct cgroups *cg)
{
	char *dir = tmpdir_make();

	put(dir, "proc/self/cgroup", "0::/system.slice/soma.service\n");
	put(dir, "proc/self/mountinfo", V2_MOUNTS);
	put(dir, "sys/fs/cgroup/system.slice/soma.service/cgroup.controllers",
	    "cpu memory pids\n");
	cgroups_init(cg, "soma-test", dir);
	return dir;
}

#define V2_HOME "sys/fs/cgroup/system.slice/soma.service"

static void v2_groups_are_made(void **state)
{
	struct cgroup_limits l = {
		.mem_bytes = 1 << 30, .cpu_millis = 2500, .pids = 99};
	struct cgroups cg;
	char *dir = v2_machine(&cg), **names;
	struct cgroup_usage u;
	struct err err = {0};
	size_t n;

	(void)state;
	assert_int_equal(cg.mode, CGROUP_V2);
	assert_int_equal(cgroups_prepare(&cg, &err), 0);
	assert_file(dir, V2_HOME "/cgroup.subtree_control", "+cpu+pids+memory");
	assert_file(dir, V2_HOME "/soma-test/cgroup.subtree_control",
		    "+cpu+pids+memory");
	assert_int_equal(cgroup_create(&cg, "iris-4-0", &l, &err), 0);
#define LEAF V2_HOME "/soma-test/iris-4-0/"
	assert_file(dir, LEAF "memory.max", "1073741824");
	assert_file(dir, LEAF "memory.swap.max", "0");
	assert_file(dir, LEAF "memory.oom.group", "1");
	assert_file(dir, LEAF "cpu.weight", "250");
	assert_file(dir, LEAF "pids.max", "99");

	put(dir, LEAF "memory.current", "5000\n");
	put(dir, LEAF "memory.peak", "7000\n");
	put(dir, LEAF "memory.events",
	    "low 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 1\n");
	assert_true(cgroup_usage(&cg, "iris-4-0", &u));
	assert_int_equal(u.mem_bytes, 5000);
	assert_int_equal(u.mem_peak_bytes, 7000);
	assert_int_equal(u.mem_limit_bytes, 1 << 30);
	assert_int_equal(u.oom_kills, 2);
	assert_int_equal(u.limit_hits, 4);
	put(dir, LEAF "memory.max", "max\n");
	assert_true(cgroup_usage(&cg, "iris-4-0", &u));
	assert_int_equal(u.mem_limit_bytes, 0);
	assert_false(cgroup_usage(&cg, "other", &u));

	put(dir, LEAF "cgroup.kill", "");
	assert_int_equal(cgroup_kill(&cg, "iris-4-0", &err), 0);
	assert_file(dir, LEAF "cgroup.kill", "1");
	names = cgroup_list(&cg, &n);
	assert_int_equal(n, 1);
	assert_string_equal(names[0], "iris-4-0");
	cgroup_list_free(names, n);
	assert_int_equal(cgroup_remove(&cg, "iris-4-0", &err), 0);
	assert_false(is_there(dir, V2_HOME "/soma-test/iris-4-0"));
	assert_int_equal(cgroups_remove(&cg, &err), 0);
	assert_false(is_there(dir, V2_HOME "/soma-test"));
	cgroups_fini(&cg);
	tmpdir_remove(dir);
}

static void v2_moves_its_own_processes_aside(void **state)
{
	struct cgroups cg;
	char *dir = v2_machine(&cg), text[32];
	cleanup_free char *home = mem_printf("%s/" V2_HOME, dir);

	(void)state;
	snprintf(text, sizeof text, "%d\n", (int)getpid());
	put(dir, V2_HOME "/cgroup.procs", text);
	assert_int_equal(move_aside(&cg, home), 0);
	snprintf(text, sizeof text, "%d", (int)getpid());
	assert_file(dir, V2_HOME "/soma-main/cgroup.procs", text);
	cgroups_fini(&cg);

	/* From there, groups go where they went before. */
	put(dir, "proc/self/cgroup", "0::/system.slice/soma.service/soma-main");
	cgroups_init(&cg, "soma-test", dir);
	assert_string_equal(cg.base[CGROUP_TREE_UNIFIED], home);
	cgroups_fini(&cg);

	/* Somebody else's process is not ours to move. */
	put(dir, "proc/self/cgroup", "0::/system.slice/soma.service");
	snprintf(text, sizeof text, "%d\n%d\n", (int)getpid(), (int)getppid());
	put(dir, V2_HOME "/cgroup.procs", text);
	cgroups_init(&cg, "soma-test", dir);
	assert_int_equal(move_aside(&cg, home), EBUSY);
	cgroups_fini(&cg);
	tmpdir_remove(dir);
}

static void v2_at_the_top_is_found_again(void **state)
{
	struct cgroups cg;
	char *dir = v2_machine(&cg);
	cleanup_free char *top = mem_printf("%s/sys/fs/cgroup", dir);

	(void)state;
	cgroups_fini(&cg);
	put(dir, "sys/fs/cgroup/soma-test/cgroup.procs", "");
	cgroups_init(&cg, "soma-test", dir);
	assert_string_equal(cg.base[CGROUP_TREE_UNIFIED], top);
	cgroups_fini(&cg);
	cgroups_init(&cg, "soma-other", dir);
	assert_string_not_equal(cg.base[CGROUP_TREE_UNIFIED], top);
	cgroups_fini(&cg);
	tmpdir_remove(dir);
}

static void processes_are_killed_one_by_one(void **state)
{
	struct cgroup_limits none = {.pids = 0};
	struct cgroups cg;
	char *dir = v2_machine(&cg), text[64];
	pid_t a = sleeper(environ), b = sleeper(environ);
	struct err err = {0};

	(void)state;
	assert_int_equal(cgroups_prepare(&cg, &err), 0);
	assert_int_equal(cgroup_create(&cg, "x", &none, &err), 0);
	assert_int_equal(cgroup_join(&cg, "x", a, &err), 0);
	snprintf(text, sizeof text, "%d\n0\n", (int)b);
	put(dir, V2_HOME "/soma-test/x/nested/cgroup.procs", text);
	assert_int_equal(cgroup_count(&cg, "x"), 2);
	assert_int_equal(cgroup_kill(&cg, "x", &err), 0);
	assert_int_equal(killed_by(a), SIGKILL);
	assert_int_equal(killed_by(b), SIGKILL);
	assert_int_equal(cgroup_remove(&cg, "x", &err), 0);
	cgroups_fini(&cg);
	tmpdir_remove(dir);
}

/* A stand-in keeps who has left: that nobody goes is what can be seen here. */
static void nobody_is_moved_who_is_another(void **state)
{
	char mark[] = "SOMA_REPLICA=to", *marked[] = {mark, NULL};
	struct cgroup_limits none = {.pids = 0};
	struct cgroups cg;
	char *dir = v2_machine(&cg), text[64];
	pid_t leader = sleeper(environ), other = sleeper(environ),
	      dead = sleeper(environ), child = sleeper(marked);
	int handle = (int)syscall(SYS_pidfd_open, dead, 0);
	struct err err = {0};

	(void)state;
	assert_int_equal(cgroups_prepare(&cg, &err), 0);
	assert_int_equal(cgroup_create(&cg, "from", &none, &err), 0);
	assert_int_equal(cgroup_create(&cg, "to", &none, &err), 0);
#define FROM V2_HOME "/soma-test/from/cgroup.procs"
#define TO V2_HOME "/soma-test/to/cgroup.procs"
	snprintf(text, sizeof text, "0\n%d\n", (int)other);
	put(dir, FROM, text);
	/* It is not there, and 0 would be this process. */
	assert_int_equal(cgroup_move(&cg, "from", "to", leader, -1, &err), 0);
	assert_int_equal(cgroup_move(&cg, "from", "to", 0, -1, &err),
			 E_NOTFOUND);
	/* The number is another's by now. */
	kill(dead, SIGKILL);
	assert_int_equal(killed_by(dead), SIGKILL);
	assert_int_equal(cgroup_move(&cg, "from", "to", other, handle, &err),
			 E_NOTFOUND);
	assert_false(is_there(dir, TO));
	/* Whom the list has and who bears its mark. */
	wait_for_exec(child);
	snprintf(text, sizeof text, "%d\n", (int)child);
	put(dir, FROM, text);
	assert_int_equal(cgroup_move(&cg, "from", "to", leader, -1, &err),
			 E_FORBIDDEN);
	assert_non_null(strstr(err.msg, "it forks too fast"));
	assert_true(is_there(dir, TO));
	kill(leader, SIGKILL);
	kill(other, SIGKILL);
	kill(child, SIGKILL);
	killed_by(leader);
	killed_by(other);
	killed_by(child);
	close(handle);
	cgroups_fini(&cg);
	tmpdir_remove(dir);
}

static void v1_groups_are_made(void **state)
{
	struct cgroup_limits l = {.mem_bytes = 4096000, .cpu_millis = 500};
	char *dir = tmpdir_make(), **names;
	struct cgroup_usage u;
	struct cgroups cg;
	struct err err = {0};
	size_t n;

	(void)state;
	put(dir, "proc/self/cgroup",
	    "12:name=systemd:/x\n5:freezer:/\n4:memory:/outer/inner\n"
	    "3:cpu,cpuacct:/docker/abc\n0::/\n");
	put(dir, "proc/self/mountinfo",
	    "32 31 0:29 /docker/abc /cg/cpu rw - cgroup cgroup "
	    "rw,cpu,cpuacct\n"
	    "35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n"
	    "36 31 0:32 / /again/memory rw - cgroup cgroup rw,memory\n"
	    "37 31 0:34 / /cg/freezer rw - cgroup cgroup rw,freezer\n"
	    "41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n");
	put(dir, "cg/memory/outer/inner/tasks", "");
	put(dir, "cg/cpu/tasks", "");
	put(dir, "cg/freezer/tasks", "");
	put(dir, "cg/unified/cgroup.controllers", "\n");
	cgroups_init(&cg, "soma-test", dir);
	assert_int_equal(cg.mode, CGROUP_V1);
	assert_int_equal(cgroups_prepare(&cg, &err), 0);
	assert_int_equal(cgroup_create(&cg, "a-1-0", &l, &err), 0);
	assert_file(dir, "cg/cpu/soma-test/a-1-0/cpu.shares", "512");
	assert_file(dir,
		    "cg/memory/outer/inner/soma-test/a-1-0/"
		    "memory.limit_in_bytes",
		    "4096000");
	assert_true(is_there(dir, "cg/unified/soma-test/a-1-0"));
	assert_true(is_there(dir, "cg/freezer/soma-test/a-1-0"));

	put(dir, "cg/memory/outer/inner/soma-test/a-1-0/memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	put(dir, "cg/memory/outer/inner/soma-test/a-1-0/memory.failcnt", "8\n");
	assert_true(cgroup_usage(&cg, "a-1-0", &u));
	assert_int_equal(u.oom_kills, 3);
	assert_int_equal(u.limit_hits, 8);
	assert_int_equal(u.mem_bytes, -1);

	/* What one tree alone has left is found too. */
	put(dir, "cg/freezer/soma-test/b-1-0/tasks", "");
	names = cgroup_list(&cg, &n);
	assert_int_equal(n, 2);
	cgroup_list_free(names, n);

	/* No processes controller: said, and nothing else is hurt. */
	l.pids = 5;
	assert_int_equal(cgroup_create(&cg, "a-1-0", &l, &err), E_UNAVAILABLE);
	assert_non_null(strstr(err.msg, "the process limit"));
	assert_null(strstr(err.msg, "memory"));
	cgroups_fini(&cg);
	tmpdir_remove(dir);
}

static void a_machine_without_groups_is_served(void **state)
{
	struct cgroup_limits l = {.mem_bytes = 4096000};
	char *dir = tmpdir_make(), **names;
	struct cgroups cg;
	struct cgroup_usage u;
	struct err err = {0};
	size_t n;

	(void)state;
	cgroups_init(&cg, "soma-test", dir);
	assert_int_equal(cg.mode, CGROUP_NONE);
	assert_string_equal(cg.why, "no control groups are mounted");
	assert_int_equal(cgroups_prepare(&cg, &err), E_UNAVAILABLE);
	assert_int_equal(cgroup_create(&cg, "x", &l, &err), E_UNAVAILABLE);
	assert_non_null(strstr(err.msg, "the memory limit"));
	assert_int_equal(cgroup_join(&cg, "x", getpid(), &err), E_FORBIDDEN);
	assert_int_equal(cgroup_kill(&cg, "x", &err), 0);
	assert_int_equal(cgroup_count(&cg, "x"), 0);
	assert_int_equal(cgroup_remove(&cg, "x", &err), 0);
	assert_int_equal(cgroups_end(&cg, 1000, &err), 0);
	assert_false(cgroup_usage(&cg, "x", &u));
	names = cgroup_list(&cg, &n);
	assert_int_equal(n, 0);
	cgroup_list_free(names, n);
	cgroups_fini(&cg);
	tmpdir_remove(dir);
}

static void instances_differ_by_directory(void **state)
{
	char a[CGROUP_INSTANCE_MAX], b[CGROUP_INSTANCE_MAX];

	(void)state;
	cgroup_instance("/nosuch/a", a);
	cgroup_instance("/nosuch/b", b);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 17);
	assert_memory_equal(a, "soma-", 5);
	cgroup_instance("/usr/../usr", a);
	cgroup_instance("/usr", b);
	assert_string_equal(a, b);
}

/* --- control groups of this machine ----------------------------------- */

struct real {
	struct cgroups cg;
	char instance[32];
};

static bool real_init(struct real *r)
{
	struct err err = {0};

	snprintf(r->instance, sizeof r->instance, "soma-unit-%d",
		 (int)getpid());
	cgroups_init(&r->cg, r->instance, "");
	/* Preparing version 2 would move whoever runs the tests. */
	if (r->cg.mode == CGROUP_V1 || r->cg.mode == CGROUP_UNIFIED) {
		cgroups_prepare(&r->cg, &err);
		return true;
	}
	printf("skipped: control groups here: %s (%s)\n",
	       cgroup_mode_name(r->cg.mode), r->cg.why);
	cgroups_fini(&r->cg);
	return false;
}

static void real_fini(struct real *r, const char *leaf)
{
	struct err err = {0};
	int rc = 0;

	for (int i = 0; i < 2000; i++) {
		rc = cgroup_remove(&r->cg, leaf, &err);
		if (rc != E_BUSY)
			break;
		usleep(1000);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(cgroups_remove(&r->cg, &err), 0);
	cgroups_fini(&r->cg);
}

static void a_real_group_is_killed(void **state)
{
	struct cgroup_limits none = {.pids = 0};
	struct err err = {0};
	struct real r;
	pid_t pid;

	(void)state;
	if (!real_init(&r))
		return;
	pid = sleeper(environ);
	cgroup_create(&r.cg, "kill", &none, &err);
	assert_int_equal(cgroup_join(&r.cg, "kill", pid, &err), 0);
	assert_int_equal(cgroup_count(&r.cg, "kill"), 1);
	assert_int_equal(cgroup_remove(&r.cg, "kill", &err), E_BUSY);
	assert_int_equal(cgroups_remove(&r.cg, &err), E_BUSY);
	assert_int_equal(cgroup_kill(&r.cg, "kill", &err), 0);
	assert_int_equal(killed_by(pid), SIGKILL);
	assert_int_equal(cgroup_count(&r.cg, "kill"), 0);
	real_fini(&r, "kill");
}

static void fork_until_killed(void)
{
	for (;;) {
		if (fork() == 0)
			usleep(500);
		else
			usleep(200);
	}
}

/* Processes that fork as fast as they can, twice: with the kernel's own kill
 * and with the freezer. */
static void a_real_fork_storm_ends(void **state)
{
	struct cgroup_limits l = {.pids = 64};
	struct err err = {0};
	struct real r;
	pid_t pid;

	(void)state;
	if (!real_init(&r))
		return;
	if (!r.cg.base[CGROUP_TREE_PIDS]) {
		puts("skipped: no limit of processes to be had");
		real_fini(&r, "storm");
		return;
	}
	for (int i = 0; i < 2; i++) {
		char *unified = r.cg.base[CGROUP_TREE_UNIFIED];

		if (i == 1)
			r.cg.base[CGROUP_TREE_UNIFIED] = NULL;
		pid = fork();
		if (pid == 0) {
			cgroup_create(&r.cg, "storm", &l, NULL);
			cgroup_join(&r.cg, "storm", getpid(), NULL);
			fork_until_killed();
		}
		usleep(50 * 1000);
		while (cgroup_kill(&r.cg, "storm", &err) == E_BUSY)
			;
		assert_int_equal(killed_by(pid), SIGKILL);
		for (int j = 0; j < 2000 && cgroup_count(&r.cg, "storm"); j++)
			usleep(1000);
		assert_int_equal(cgroup_count(&r.cg, "storm"), 0);
		r.cg.base[CGROUP_TREE_UNIFIED] = unified;
	}
	real_fini(&r, "storm");
}

static void a_real_memory_limit_kills(void **state)
{
	struct cgroup_limits l = {.mem_bytes = 32 << 20};
	struct cgroup_usage u;
	struct err err = {0};
	struct real r;
	pid_t pid;

	(void)state;
	if (!real_init(&r))
		return;
	if (!r.cg.base[CGROUP_TREE_MEMORY]) {
		puts("skipped: no memory controller");
		real_fini(&r, "oom");
		return;
	}
	assert_int_equal(cgroup_create(&r.cg, "oom", &l, &err), 0);
	pid = fork();
	if (pid == 0) {
		size_t n = 96 << 20;
		char *p;

		if (cgroup_join(&r.cg, "oom", getpid(), NULL))
			_exit(3);
		p = mmap(NULL, n, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(p, 1, n);
		_exit(0);
	}
	assert_int_equal(killed_by(pid), SIGKILL);
	assert_true(cgroup_usage(&r.cg, "oom", &u));
	assert_int_equal(u.oom_kills, 1);
	assert_int_equal(u.mem_limit_bytes, 32 << 20);
	assert_true(u.mem_peak_bytes > (30 << 20));
	real_fini(&r, "oom");
}

/* --- strays ----------------------------------------------------------- */

static void strays_are_found_by_their_mark(void **state)
{
	static char us[] = "SOMA_INSTANCE=soma-unit", id[] = "SOMA_REPLICA=a-1",
		    other[] = "SOMA_INSTANCE=soma-other", first[] = "A=b",
		    longer[] = "SOMA_REPLICA=a-11";
	char *marked[] = {first, us, id, NULL};
	char *foreign[] = {other, id, NULL};
	char *near[] = {us, longer, NULL};
	pid_t a = sleeper(marked), b = sleeper(foreign), c = sleeper(near);

	(void)state;
	wait_for_exec(a);
	wait_for_exec(b);
	wait_for_exec(c);
	assert_int_equal(box_kill_strays("soma-unit", "nosuch"), 0);
	assert_int_equal(box_kill_strays("soma-unit", "a-1"), 1);
	assert_int_equal(killed_by(a), SIGKILL);
	assert_int_equal(waitpid(b, NULL, WNOHANG), 0);
	assert_int_equal(waitpid(c, NULL, WNOHANG), 0);
	assert_int_equal(box_kill_strays("soma-unit", NULL), 1);
	assert_int_equal(killed_by(c), SIGKILL);
	end(b);
}

static void sessions_end_whole(void **state)
{
	int fds[2];
	pid_t leader, member = 0;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	leader = fork();
	if (leader == 0) {
		pid_t pid;

		setsid();
		pid = fork();
		if (pid == 0) {
			/* A group of its own, as a shell's jobs are. */
			setpgid(0, 0);
			pid = getpid();
			if (write(fds[1], &pid, sizeof pid) < 0)
				_exit(1);
			pause();
		}
		pause();
	}
	assert_int_equal(read(fds[0], &member, sizeof member), sizeof member);
	assert_true(box_kill_session(leader) >= 1);
	assert_int_equal(killed_by(leader), SIGKILL);
	for (int i = 0; i < 2000 && kill(member, 0) == 0; i++) {
		char path[64], text[512];

		/* Whoever adopts it may be slow to reap it. */
		snprintf(path, sizeof path, "/proc/%d/stat", (int)member);
		if (cgfile_read(path, text, sizeof text) ||
		    strstr(text, ") Z "))
			break;
		assert_true(i < 1999);
		usleep(1000);
	}
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_read),
		cmocka_unit_test(wrong_options_are_named),
		cmocka_unit_test(reach_names_the_first_that_blocks),
		cmocka_unit_test(reach_tells_the_kinds_apart),
		cmocka_unit_test(blocked_ancestors_are_found),
		cmocka_unit_test(v2_groups_are_made),
		cmocka_unit_test(v2_moves_its_own_processes_aside),
		cmocka_unit_test(v2_at_the_top_is_found_again),
		cmocka_unit_test(processes_are_killed_one_by_one),
		cmocka_unit_test(nobody_is_moved_who_is_another),
		cmocka_unit_test(v1_groups_are_made),
		cmocka_unit_test(a_machine_without_groups_is_served),
		cmocka_unit_test(instances_differ_by_directory),
		cmocka_unit_test(a_real_group_is_killed),
		cmocka_unit_test(a_real_fork_storm_ends),
		cmocka_unit_test(a_real_memory_limit_kills),
		cmocka_unit_test(strays_are_found_by_their_mark),
		cmocka_unit_test(sessions_end_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
