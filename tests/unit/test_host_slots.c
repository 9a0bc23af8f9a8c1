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

/* ---- callers that ask again ---- */

enum { PAIR = 2 };

static bool always_fit(const struct work *a, const struct work *b)
{
	(void)a;
	(void)b;
	return true;
}

/* What waits is answered, and `n` of the callers ask again at once. Returns
 * whether the first of them is taken before the second has come. */
static bool is_taken_alone(struct slots *s, struct work *w, unsigned n)
{
	bool alone = false;
	struct work *first = slots__take_l(s);

	slots__put_l(s, first);
	while (!list_empty(&s->done))
		list_remove(s->done.next);
	for (unsigned i = 0; i < n; i++) {
		slots_add(s, &w[i]);
		if (i == 0)
			alone = slots__is_due_l(s, NULL);
	}
	return alone;
}

static void callers_who_ask_again_are_waited_for(void **state)
{
	uv_loop_t loop;
	struct slots s = {.loop = &loop,
			  .n = 1,
			  .batch_max = 2 * PAIR,
			  .batch_interval_ns = NOW * 1000000ull,
			  .fit = always_fit};
	struct work w[PAIR] = {0};
	uint64_t hold = 0;

	(void)state;
	uv_loop_init(&loop);
	slots_init(&s);
	s.leader = 0;
	s.asked = true;
	s.callers.window = s.batch_interval_ns;
	for (int i = 0; i < PAIR; i++)
		slots_add(&s, &w[i]);
	/* Nothing is known of them. */
	assert_true(slots__is_due_l(&s, NULL));
	assert_true(is_taken_alone(&s, w, PAIR));
	for (int i = 0; i < 8; i++)
		is_taken_alone(&s, w, PAIR);
	/* They have always come back together. */
	assert_false(is_taken_alone(&s, w, PAIR));
	assert_true(slots__is_due_l(&s, NULL));
	/* One does not: the other does not wait for longer than the window. */
	assert_false(is_taken_alone(&s, w, 1));
	assert_false(slots__is_due_l(&s, &hold));
	assert_in_range(hold, 1, NOW * 1000000ull);
	s.callers.ended -= s.callers.window + 1;
	assert_true(slots__is_due_l(&s, NULL));
	/* One caller alone is never held. */
	for (int i = 0; i < 8; i++)
		assert_true(is_taken_alone(&s, w, 1));
	list_remove(s.queue.next);
	slots_fini(&s);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_limits_count_from_the_beginning),
		cmocka_unit_test(callers_who_ask_again_are_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
