#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/stray.h"
#include "box_fixture.h"

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
		cmocka_unit_test(strays_are_found_by_their_mark),
		cmocka_unit_test(sessions_end_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
