#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keep/child.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_has_no_handler_of_ours),
		cmocka_unit_test(a_child_has_nothing_blocked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
