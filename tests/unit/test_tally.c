#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/tally.h"

static void what_is_written_is_read(void **state)
{
	struct tally t = {.pre = 1, .ready = 2, .predict = 3, .busy = 2};
	struct tally back = {.post = 9};
	struct buf b;

	(void)state;
	tally_pre(&t, 50);
	tally_call(&t, 7, 100);
	t.busy_ns = 123;
	t.gone_ready = 4;
	t.post_errors = 5;
	buf_init(&b, 4096);
	tally_write(&t, &b);
	assert_true(tally_read(&back, (struct str){b.data, b.len}));
	assert_true(tally_same(&t, &back));
	buf_fini(&b);
}

static void nothing_is_short(void **state)
{
	const struct tally none = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	tally_write(&none, &b);
	assert_string_equal(buf_cstr(&b),
			    "{\"pre\":0,\"ready\":0,\"predict\":0,"
			    "\"post\":0,\"busy\":0}");
	buf_fini(&b);
}

static void calls_are_counted_by_size(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 4, 5, 8, 9, 1024, 4000};
	static const uint64_t want[TALLY_SIZES] = {1, 1, 2, 2, 1, 0,
						   0, 0, 0, 0, 2};
	struct tally t = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		tally_call(&t, sizes[i], 10);
	assert_memory_equal(t.sizes, want, sizeof want);
	assert_int_equal(t.calls, ARRAY_LEN(sizes));
	assert_int_equal(t.requests, 5056);
	assert_int_equal(tally_size(0), 1);
	assert_int_equal(tally_size(TALLY_SIZES - 1), 1024);
}

static void means_follow_what_is_lately(void **state)
{
	struct tally t = {0};

	(void)state;
	tally_call(&t, 1, 800);
	assert_int_equal(t.predict_ns, 800);
	tally_call(&t, 1, 1600);
	assert_int_equal(t.predict_ns, 900);
	for (int i = 0; i < 200; i++)
		tally_call(&t, 1, 160000);
	assert_in_range(t.predict_ns, 159000, 160000);
}

/* A replica that starts again counts from nothing, and a frame may come late.
 */
static void sums_never_shrink(void **state)
{
	struct tally sum = {0}, before = {0}, now = {0};

	(void)state;
	tally_call(&now, 2, 100);
	now.predict = 3;
	tally_add(&sum, &before, &now);
	before = now;
	tally_call(&now, 2, 50);
	tally_add(&sum, &before, &now);
	assert_int_equal(sum.calls, 2);
	assert_int_equal(sum.calls_ns, 150);
	assert_int_equal(sum.sizes[1], 2);
	assert_int_equal(sum.predict, 0);
	assert_int_equal(sum.predict_ns, 0);
	tally_add(&sum, &now, &before);
	assert_int_equal(sum.calls, 2);
	assert_int_equal(sum.calls_ns, 150);
}

static void nonsense_is_nothing(void **state)
{
	struct tally t = {.pre = 7};

	(void)state;
	assert_false(tally_read(&t, STR("not JSON")));
	assert_false(tally_read(&t, STR("[1]")));
	assert_int_equal(t.pre, 7);
	/* User code may write there: nothing of it is believed. */
	assert_true(tally_read(&t, STR("{\"pre\":-1,\"ready\":\"x\","
				       "\"post\":1e9,\"sizes\":{\"a\":1},"
				       "\"predict\":18446744073709551615,"
				       "\"calls\":18446744073709551615,"
				       "\"pre_ns\":18446744073709551615}")));
	assert_int_equal(t.pre, 0);
	assert_int_equal(t.ready, 0);
	assert_int_equal(t.post, 0);
	assert_int_equal(t.sizes[0], 0);
	assert_int_equal(t.predict, UINT32_MAX);
	assert_int_equal(t.pre_ns, 3600000000000);
	assert_true(t.calls < UINT64_MAX / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(nothing_is_short),
		cmocka_unit_test(calls_are_counted_by_size),
		cmocka_unit_test(means_follow_what_is_lately),
		cmocka_unit_test(sums_never_shrink),
		cmocka_unit_test(nonsense_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
