#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/slots.c"

enum { LIMIT = 1000, GRACE = 100, NOW = 50000 };

static unsigned n_late, n_stuck, n_all_stuck;

static void on_late(struct work *w, uint64_t ran_ms)
{
	(void)w;
	assert_in_range(ran_ms, LIMIT, LIMIT + GRACE);
	n_late++;
}

static void on_stuck(struct work *w, uint64_t ran_ms)
{
	(void)w;
	assert_in_range(ran_ms, LIMIT + GRACE, LIMIT + GRACE);
	n_stuck++;
}

static void on_all_stuck(void *data)
{
	(void)data;
	n_all_stuck++;
}

static void time_limits_count_from_the_beginning(void **state)
{
	uv_loop_t loop;
	struct slots s = {.loop = &loop,
			  .n = 1,
			  .limit_ms = LIMIT,
			  .grace_ms = GRACE,
			  .on_all_stuck = on_all_stuck};
	struct work w = {.state = WORK_RUNNING,
			 .on_late = on_late,
			 .on_stuck = on_stuck};

	(void)state;
	uv_loop_init(&loop);
	slots_init(&s);
	s.slot[0].work = &w;
	/* It began after the leader had looked at the clock. */
	w.since_ms = NOW + 1;
	judge(&s, &s.slot[0], NOW);
	assert_int_equal(n_late + n_stuck, 0);
	w.since_ms = NOW - LIMIT + 1;
	judge(&s, &s.slot[0], NOW);
	assert_int_equal(n_late, 0);
	judge(&s, &s.slot[0], NOW + 1);
	judge(&s, &s.slot[0], NOW + 2);
	assert_int_equal(n_late, 1);
	assert_int_equal(n_stuck, 0);
	judge(&s, &s.slot[0], NOW + 1 + GRACE);
	judge(&s, &s.slot[0], NOW + 2 + GRACE);
	assert_int_equal(n_late, 1);
	assert_int_equal(n_stuck, 1);
	assert_int_equal(n_all_stuck, 1);
	slots_fini(&s);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_limits_count_from_the_beginning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
