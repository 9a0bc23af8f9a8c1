#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/mem.h"
#include "serve/work.h"

#define S UINT64_C(1000000000)

static struct tally told(uint64_t calls, uint64_t calls_ns, uint64_t busy_ns,
			 uint32_t busy)
{
	return (struct tally){.calls = calls,
			      .calls_ns = calls_ns,
			      .busy_ns = busy_ns,
			      .busy = busy};
}

static void what_runs_goes_on_until_told_otherwise(void **state)
{
	struct work w;
	struct tally sum = {0}, t = told(1, 3 * S, 4 * S, 2);

	(void)state;
	work_begin(&w, false);
	assert_int_equal(work_running_ns(&w, 100 * S), 0);
	work_told(&w, &t, 100 * S, &sum);
	assert_int_equal(work_running_ns(&w, 100 * S), S);
	assert_int_equal(work_running_ns(&w, 103 * S), 7 * S);
	t = told(3, 9 * S, 9 * S, 0);
	work_told(&w, &t, 104 * S, &sum);
	assert_int_equal(work_running_ns(&w, 110 * S), 0);
	assert_int_equal(sum.calls, 3);
	assert_int_equal(sum.calls_ns, 9 * S);
}

/* A new daemon does not count what its predecessor has. */
static void what_was_before_us_is_not_counted(void **state)
{
	struct work w;
	struct tally sum = {0}, t = told(7, 70 * S, 70 * S, 0);
	uint64_t span;

	(void)state;
	work_begin(&w, true);
	work_sample(&w, 1 * S);
	work_lately_ns(&w, 2 * S, &span);
	assert_int_equal(span, 0);
	work_told(&w, &t, 2 * S, &sum);
	assert_int_equal(sum.calls, 0);
	work_sample(&w, 3 * S);
	t = told(8, 71 * S, 71 * S, 0);
	work_told(&w, &t, 5 * S, &sum);
	assert_int_equal(sum.calls, 1);
	assert_int_equal(work_lately_ns(&w, 5 * S, &span), S);
	assert_int_equal(span, 2 * S);
}

static void lately_is_ten_seconds(void **state)
{
	struct work w;
	struct tally sum = {0}, t;
	uint64_t span;

	(void)state;
	work_begin(&w, false);
	/* Busy for half of each second until 20, then for all of it. */
	for (uint64_t s = 0; s <= 30; s++) {
		uint64_t busy = s <= 20 ? s * S / 2 : 10 * S + (s - 20) * S;

		t = told(s, busy, busy, 0);
		work_told(&w, &t, s * S, &sum);
		work_sample(&w, s * S);
		if (s == 4) {
			assert_int_equal(work_lately_ns(&w, s * S, &span),
					 2 * S);
			assert_int_equal(span, 4 * S);
		}
		if (s == 25) {
			assert_int_equal(work_lately_ns(&w, s * S, &span),
					 5 * S / 2 + 5 * S);
			assert_int_equal(span, 10 * S);
		}
	}
	assert_int_equal(work_lately_ns(&w, 30 * S, &span), 10 * S);
	assert_int_equal(span, 10 * S);
	/* Nobody has looked for a while. */
	assert_int_equal(work_lately_ns(&w, 60 * S, &span), 0);
	assert_int_equal(span, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_runs_goes_on_until_told_otherwise),
		cmocka_unit_test(what_was_before_us_is_not_counted),
		cmocka_unit_test(lately_is_ten_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
