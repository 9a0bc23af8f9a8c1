#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/queue.h"

#define NONE PRIORITY_NOBODY

static void the_highest_class_is_next(void **state)
{
	static const struct {
		uint64_t since[PRIORITIES];
		int next;
	} cases[] = {
		{{NONE, NONE, NONE}, -1},
		{{NONE, 7, NONE}, PRIORITY_NORMAL},
		{{9, 7, 1}, PRIORITY_HIGH},
		{{NONE, 7, 1}, PRIORITY_NORMAL},
		{{NONE, NONE, 1}, PRIORITY_LOW},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(priority_next(cases[i].since, 0).next,
				 cases[i].next);
}

/* Who is alone has all turns, and owes nobody for them later. */
static void nobody_is_passed_over_by_being_alone(void **state)
{
	const uint64_t alone[] = {NONE, 1, NONE};

	(void)state;
	assert_int_equal(priority_next(alone, 7).passed, 0);
	assert_int_equal(priority_next(alone, 7).next, PRIORITY_NORMAL);
}

/* An endless stream of high ones, and four of each other class that came
 * before or between: all are served, the oldest first. */
static void low_does_not_starve(void **state)
{
	uint64_t waiting[][5] = {{1, 4, 5, 8, NONE}, {2, 3, 6, 7, NONE}};
	size_t at[2] = {0};
	uint64_t last = 0, now = 100;
	uint32_t passed = 0;
	int high = 0;

	(void)state;
	while (at[0] < 4 || at[1] < 4) {
		const uint64_t since[] = {now++, waiting[0][at[0]],
					  waiting[1][at[1]]};
		struct priority_turn t = priority_next(since, passed);

		passed = t.passed;
		assert_true(now < 200);
		if (t.next == PRIORITY_HIGH) {
			assert_true(++high < PRIORITY_TURNS);
			continue;
		}
		assert_int_equal(high, PRIORITY_TURNS - 1);
		high = 0;
		assert_true(since[t.next] > last);
		last = since[t.next];
		at[t.next - 1]++;
	}
	assert_int_equal(last, 8);
}

static bool in_vain(uint64_t ahead, uint64_t slots, uint64_t service_ns,
		    uint64_t limit_ns)
{
	struct queue_rate rate = {slots, service_ns, RATE_ANSWERS, UINT64_MAX};

	return waits_in_vain(ahead, &rate, limit_ns);
}

static uint32_t retry(uint64_t waiting, uint64_t slots, uint64_t service_ns)
{
	return retry_after_s(waiting, &(struct queue_rate){slots, service_ns, 1,
							   UINT64_MAX});
}

static void who_waits_in_vain_is_known(void **state)
{
	const uint64_t ms = 1000000;
	struct queue_rate rate = {1, 300 * ms, RATE_ANSWERS, UINT64_MAX};

	(void)state;
	/* 10 ms each: six ahead and itself are 70 of 100 ms, seven 80. */
	assert_false(in_vain(6, 1, 10 * ms, 100 * ms));
	assert_true(in_vain(7, 1, 10 * ms, 100 * ms));
	assert_false(in_vain(14, 2, 10 * ms, 100 * ms));
	assert_true(in_vain(15, 2, 10 * ms, 100 * ms));
	assert_true(in_vain(UINT64_MAX - 1, 1, ms, ms));
	/* nothing is known */
	assert_false(in_vain(1000, 0, 10 * ms, 100 * ms));
	assert_false(in_vain(1000, 1, 0, 100 * ms));
	rate.answers--;
	assert_false(waits_in_vain(1000, &rate, 100 * ms));
	/* of the first 60 ms no more is known than of one that waits for 4 s */
	rate = (struct queue_rate){1, 300 * ms, RATE_ANSWERS, 60 * ms};
	assert_true(waits_in_vain(1000, &rate, 3800 * ms));
	assert_false(waits_in_vain(1000, &rate, 3900 * ms));
}

static void retry_after_is_the_time_that_the_queue_takes(void **state)
{
	const uint64_t ms = 1000000;

	(void)state;
	/* 100 that wait, 2 slots, 100 ms each: 5 s */
	assert_int_equal(retry(100, 2, 100 * ms), 5);
	assert_int_equal(retry(101, 2, 100 * ms), 6);
	assert_int_equal(retry(1, 1, 2001 * ms), 3);
	/* at least one second, at most a minute */
	assert_int_equal(retry(0, 1, 100 * ms), 1);
	assert_int_equal(retry(1, 1, 1), 1);
	assert_int_equal(retry(1000000, 1, 3600000 * ms), 60);
	assert_int_equal(retry(UINT64_MAX, 1, UINT64_MAX), 60);
	/* nothing is known */
	assert_int_equal(retry(100, 0, 100 * ms), 1);
	assert_int_equal(retry(100, 2, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_highest_class_is_next),
		cmocka_unit_test(nobody_is_passed_over_by_being_alone),
		cmocka_unit_test(low_does_not_starve),
		cmocka_unit_test(who_waits_in_vain_is_known),
		cmocka_unit_test(retry_after_is_the_time_that_the_queue_takes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
