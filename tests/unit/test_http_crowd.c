/* Many clients that leave at the same time. */
#include "test_http_kit.h"

enum { CROWD = 400, CLOSED_IN_A_TURN = 64 };

/* All of them are handed to a handler that keeps them waiting, and go. */
static void come_and_leave(void)
{
	int fd[CROWD];

	kit_open(serve_hold);
	for (unsigned i = 0; i < CROWD; i++) {
		fd[i] = dial();
		say(fd[i], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
		if (i % 100 == 99)
			UNTIL(kit->handed == i + 1);
	}
	for (unsigned i = 0; i < CROWD; i++)
		close(fd[i]);
	turn();
}

/* Each handler hears at once, before all of their sockets are closed: others
 * are served between. */
static void test_a_crowd_leaves(void **state)
{
	(void)state;
	come_and_leave();
	assert_int_equal(kit->gone, CROWD);
	assert_in_range(kit->server.n_conns, CROWD - CLOSED_IN_A_TURN, CROWD);
	UNTIL(kit->server.n_conns == 0);
}

static void test_a_drain_while_a_crowd_leaves(void **state)
{
	(void)state;
	come_and_leave();
	http_server_drain(&kit->server, on_server_closed);
	UNTIL(kit->server_closed);
	assert_int_equal(kit->gone, CROWD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_crowd_leaves, kit_up,
						kit_down),
		cmocka_unit_test_setup_teardown(
			test_a_drain_while_a_crowd_leaves, kit_up, kit_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
