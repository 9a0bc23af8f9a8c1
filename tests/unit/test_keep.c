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
#include <sys/wait.h>
#include <unistd.h>

#include "core/mem.h"
#include "keep/adopt.h"

static int told[2];

/* As libuv's: whoever runs it tells the loop, which may be another process'. */
static void on_term(int signum)
{
	char c = (char)signum;

	if (write(told[1], &c, 1) != 1)
		_exit(99);
}

static void a_child_has_no_handler_of_ours(void **state)
{
	struct sigaction mine = {.sa_handler = on_term};
	char c;

	(void)state;
	assert_int_equal(pipe2(told, O_NONBLOCK), 0);
	sigaction(SIGTERM, &mine, NULL);
	/* At each turn the signal finds the child in another place. */
	for (int i = 0; i < 300; i++) {
		int status;
		pid_t pid = child_fork();

		assert_true(pid >= 0);
		if (pid == 0)
			for (;;)
				pause();
		for (int spin = 0; spin < i * 100; spin++)
			__asm__ volatile("");
		kill(pid, SIGTERM);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGTERM);
	}
	assert_int_equal(read(told[0], &c, 1), -1);
	/* The parent's own is as it was. */
	raise(SIGTERM);
	assert_int_equal(read(told[0], &c, 1), 1);
	signal(SIGTERM, SIG_DFL);
	close(told[0]);
	close(told[1]);
}

static void a_child_has_nothing_blocked(void **state)
{
	sigset_t mask, before;
	int status;
	pid_t pid;

	(void)state;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &mask, &before);
	pid = child_fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, NULL, &mask);
		for (int n = 1; n < NSIG; n++)
			if (sigismember(&mask, n) == 1)
				_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	assert_int_equal(sigismember(&mask, SIGUSR1), 1);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* ---- ADOPT ---- */

static struct list children;
static struct adopt_ends ends;
static int given[2];
static pid_t the_daemon;
static uid_t user;

/* What the message brings: two descriptors, whose fate is looked at. */
static int adopt(uint64_t id, pid_t pid, size_t n_fds)
{
	char payload[100];
	struct keep_head head = {.type = KEEP_ADOPT, .id = id, .arg = pid};

	snprintf(payload, sizeof payload,
		 "{\"mark\":\"z-1\",\"meta\":\"{}\",\"uid\":%u}", user);
	assert_int_equal(pipe2(given, O_CLOEXEC), 0);
	return adopt_child(&children, &ends, the_daemon, &head,
			   (struct str){payload, strlen(payload)}, given,
			   n_fds);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static pid_t sleeper(void)
{
	pid_t pid = child_fork();

	assert_true(pid >= 0);
	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static int end_of(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int fresh(void **state)
{
	(void)state;
	list_init(&children);
	memset(&ends, 0, sizeof ends);
	the_daemon = -1;
	user = geteuid();
	return 0;
}

static int no_children(void **state)
{
	struct list *it, *tmp;

	(void)state;
	LIST_EACH (&children, it, tmp)
		child_free(LIST_ENTRY(it, struct child, link));
	return 0;
}

static void a_living_child_is_adopted(void **state)
{
	pid_t pid = sleeper();
	struct child *c;

	(void)state;
	assert_int_equal(adopt(7, pid, 2), 0);
	c = child_by_id(&children, 7);
	assert_non_null(c);
	assert_int_equal(c->pid, pid);
	assert_string_equal(c->name, "z-1");
	assert_string_equal(c->meta, "{}");
	assert_int_equal(c->log_fd, given[0]);
	assert_int_equal(c->control, given[1]);
	/* It is somebody's now. */
	assert_int_equal(adopt(8, pid, 2), -ESRCH);
	assert_null(child_by_id(&children, 8));
	end_of(pid);
}

static void a_child_that_died_first_is_adopted_with_its_end(void **state)
{
	pid_t pid = sleeper();
	int status = end_of(pid);
	struct child *c;

	(void)state;
	adopt_note_end(&ends, pid, status);
	for (int i = 1; i < ADOPT_ENDS; i++)
		adopt_note_end(&ends, pid + 1, 0);
	assert_int_equal(adopt(7, pid, 2), 0);
	c = child_by_id(&children, 7);
	assert_non_null(c);
	assert_int_equal(c->pid, 0);
	assert_int_equal(c->status, status);
	/* An end is one child's. */
	assert_int_equal(adopt(8, pid, 2), -ESRCH);
}

static void ends_nobody_asks_for_are_forgotten(void **state)
{
	pid_t pid = sleeper();

	(void)state;
	adopt_note_end(&ends, pid, end_of(pid));
	for (int i = 0; i < ADOPT_ENDS; i++)
		adopt_note_end(&ends, pid + 1, 0);
	assert_int_equal(adopt(7, pid, 2), -ESRCH);
	assert_false(is_open(given[0]) || is_open(given[1]));
}

static void who_is_no_child_is_not_adopted(void **state)
{
	const pid_t others[] = {0, 1, -1, getpid(), getppid()};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_int_equal(adopt(7, others[i], 2), -ESRCH);
		assert_true(list_empty(&children));
		assert_false(is_open(given[0]) || is_open(given[1]));
	}
}

/* User code may name any pid: neither the daemon is adopted nor what runs as
 * another user, though both are the keeper's children. */
static void whom_user_code_may_name_is_not_adopted(void **state)
{
	pid_t pid = sleeper();

	(void)state;
	the_daemon = pid;
	assert_int_equal(adopt(7, pid, 2), -ESRCH);
	the_daemon = -1;
	user = geteuid() + 1;
	assert_int_equal(adopt(7, pid, 2), -ESRCH);
	assert_true(list_empty(&children));
	assert_false(is_open(given[0]) || is_open(given[1]));
	end_of(pid);
}

static void one_whose_descriptors_were_lost_is_not_adopted(void **state)
{
	pid_t pid = sleeper();

	(void)state;
	assert_int_equal(adopt(7, pid, 0), -EMFILE);
	assert_true(list_empty(&children));
	close(given[0]);
	close(given[1]);
	end_of(pid);
}

/* ---- what the dead leave behind ---- */

/* A child of ours that nobody knows, with that mark: an orphan, or a fork that
 * is to be adopted yet. */
static pid_t marked(const char *mark)
{
	char var[64];
	char *env[] = {var, NULL};
	char *argv[] = {(char *)(uintptr_t) "sleep", (char *)(uintptr_t) "600",
			NULL};
	pid_t pid;

	snprintf(var, sizeof var, "SOMA_REPLICA=%s", mark);
	pid = child_fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		execve("/bin/sleep", argv, env);
		_exit(99);
	}
	/* Before its exec it shows ours. */
	for (;;) {
		char path[64], text[64] = "";
		FILE *f;

		snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
		f = fopen(path, "re");
		assert_non_null(f);
		if (fread(text, 1, sizeof text - 1, f) &&
		    strcmp(text, var) == 0) {
			fclose(f);
			return pid;
		}
		fclose(f);
	}
}

static struct child *known(pid_t pid, const char *mark, bool forks)
{
	struct child *c = mem_alloc(sizeof *c);

	c->pid = pid;
	c->log_fd = c->control = -1;
	c->name = mem_strdup(mark);
	c->forks = forks;
	list_push_back(&children, &c->link);
	return c;
}

static bool is_dead(pid_t pid)
{
	siginfo_t info = {.si_pid = 0};

	assert_int_equal(
		waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT),
		0);
	return info.si_pid == pid;
}

/* As the keeper does when it has reaped it; whom it killed is waited for. */
static void ended(struct child *c, pid_t killed)
{
	siginfo_t info;

	c->pid = 0;
	child_kill_rest(&children, c, -1);
	if (killed)
		waitid(P_PID, (id_t)killed, &info, WEXITED | WNOWAIT);
}

static void strays_of_a_dead_fork_die_while_its_zygote_lives(void **state)
{
	pid_t zygote = sleeper(), stray = marked("py-1-0-8"),
	      others = marked("py-1-1-9"), unborn = marked("py-1-2-10"),
	      just_forked = marked("py-1-zygote-7");
	struct child *fork;

	(void)state;
	known(zygote, "py-1-zygote-7", true);
	known(zygote, "py-1-1-9", false);
	fork = known(zygote, "py-1-0-8", false);
	ended(fork, stray);
	assert_false(is_dead(others) || is_dead(unborn) ||
		     is_dead(just_forked));
	end_of(stray);
	end_of(others);
	end_of(unborn);
	end_of(just_forked);
	end_of(zygote);
}

static void forks_outlive_their_zygote_until_it_is_forgotten(void **state)
{
	pid_t asked_for = marked("py-1-zygote-7"),
	      forgotten = marked("py-1-zygote-7"), mine;
	struct child *zygote = known(0, "py-1-zygote-7", true);

	(void)state;
	ended(zygote, 0);
	assert_false(is_dead(asked_for) || is_dead(forgotten));
	mine = asked_for;
	known(mine, "py-1-0-8", false);
	zygote->forks = false;
	ended(zygote, forgotten);
	assert_false(is_dead(mine));
	end_of(mine);
	end_of(forgotten);
}

/* Late: its parent was another that was left, and has died since. */
static void an_orphan_that_comes_late_goes_with_the_next(void **state)
{
	pid_t late = marked("iris-1-0-3");
	struct child *c = known(0, "other-1-0-4", false);

	(void)state;
	ended(c, late);
	end_of(late);
}

#define ADOPTION(test) cmocka_unit_test_setup_teardown(test, fresh, no_children)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_has_no_handler_of_ours),
		cmocka_unit_test(a_child_has_nothing_blocked),
		ADOPTION(a_living_child_is_adopted),
		ADOPTION(a_child_that_died_first_is_adopted_with_its_end),
		ADOPTION(ends_nobody_asks_for_are_forgotten),
		ADOPTION(who_is_no_child_is_not_adopted),
		ADOPTION(whom_user_code_may_name_is_not_adopted),
		ADOPTION(one_whose_descriptors_were_lost_is_not_adopted),
		ADOPTION(strays_of_a_dead_fork_die_while_its_zygote_lives),
		ADOPTION(forks_outlive_their_zygote_until_it_is_forgotten),
		ADOPTION(an_orphan_that_comes_late_goes_with_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
