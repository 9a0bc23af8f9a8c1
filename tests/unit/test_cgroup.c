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

#include "box/cgroup.h"
#include "box_fixture.h"
#include "tmpdir.h"

/* For move_aside, which only a kernel's EBUSY leads to. */
#include "box/delegate.c"

/* --- on a directory that stands in for the kernel's --- */

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
	cgroup_weigh(&cg, "", 2000);
	assert_file(dir, V2_HOME "/soma-test/cpu.weight", "200");
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

/* A kernel takes the last word, a file in its place keeps all. */
static void groups_are_weighed_anew(void **state)
{
	static const struct {
		int64_t millis;
		const char *weight;
	} cases[] = {{1, "1"}, {70, "7"}, {1000, "100"}, {9999999, "10000"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cgroup_limits none = {.pids = 0};
		struct cgroups cg;
		char *dir = v2_machine(&cg);

		assert_int_equal(cgroups_prepare(&cg, NULL), 0);
		assert_int_equal(cgroup_create(&cg, "iris-4-0", &none, NULL),
				 0);
		cgroup_weigh(&cg, "iris-4-0", cases[i].millis);
		assert_file(dir, LEAF "cpu.weight", cases[i].weight);
		cgroups_fini(&cg);
		tmpdir_remove(dir);
	}
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

/* --- of this machine ----------------------------------- */

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

/* Pages of files count as free: the kernel drops them. */
static void what_our_own_group_leaves(void **state)
{
	struct cgroups cg;
	char *dir = v2_machine(&cg);
	uint64_t limit = 0, left = 0;

	(void)state;
	assert_false(cgroup_left(&cg, &limit, &left));
	put(dir, V2_HOME "/memory.max", "max\n");
	put(dir, V2_HOME "/memory.current", "7000\n");
	put(dir, V2_HOME "/memory.stat",
	    "anon 4000\nfile 3000\ninactive_file 1500\nactive_file 500\n");
	assert_false(cgroup_left(&cg, &limit, &left));
	put(dir, V2_HOME "/memory.max", "10000\n");
	assert_true(cgroup_left(&cg, &limit, &left));
	assert_int_equal(limit, 10000);
	assert_int_equal(left, 5000);
	/* It may have been lowered below what is there. */
	put(dir, V2_HOME "/memory.max", "1000\n");
	assert_true(cgroup_left(&cg, &limit, &left));
	assert_int_equal(left, 0);
	cgroups_fini(&cg);
	tmpdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v2_groups_are_made),
		cmocka_unit_test(v2_moves_its_own_processes_aside),
		cmocka_unit_test(v2_at_the_top_is_found_again),
		cmocka_unit_test(processes_are_killed_one_by_one),
		cmocka_unit_test(nobody_is_moved_who_is_another),
		cmocka_unit_test(v1_groups_are_made),
		cmocka_unit_test(groups_are_weighed_anew),
		cmocka_unit_test(a_machine_without_groups_is_served),
		cmocka_unit_test(instances_differ_by_directory),
		cmocka_unit_test(a_real_group_is_killed),
		cmocka_unit_test(a_real_fork_storm_ends),
		cmocka_unit_test(a_real_memory_limit_kills),
		cmocka_unit_test(what_our_own_group_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
