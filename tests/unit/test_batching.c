/* What a replica says of its batches, which runs its user's code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "core/mem.h"
#include "serve/batching.h"
#include "spec/spec.h"

static void what_is_said_is_read(void **state)
{
	struct batching b;

	(void)state;
	assert_true(batching_read(
		&b, STR("{\"size\":8,\"points\":[[1,10000000,12000000],"
			"[8,20000000,20000000]]}")));
	assert_int_equal(b.size, 8);
	assert_int_equal(b.n, 2);
	assert_int_equal(b.points[0].size, 1);
	assert_int_equal(b.points[0].mean_ns, 10000000);
	assert_int_equal(b.points[0].p99_ns, 12000000);
	assert_int_equal(b.points[1].size, 8);
}

static void what_is_no_object_changes_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"nonsense",
		"7",
		"null",
		"[1,2,3]",
		"\"{}\"",
		"{}{}",
		"{\"size\":8",
		"{,}",
		"{\"size\":0x8}",
		"\xff\xfe",
		"[[[[",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct batching b = {.size = 5, .n = 1};

		b.points[0].size = 3;
		if (batching_read(&b, str_of(bad[i])))
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(b.size, 5);
		assert_int_equal(b.n, 1);
		assert_int_equal(b.points[0].size, 3);
	}
}

/* Each number alone. */
static void sizes_are_bounded(void **state)
{
	static const struct {
		const char *text;
		uint32_t size;
	} cases[] = {
		{"{}", 0},
		{"{\"size\":0}", 0},
		{"{\"size\":-1}", 0},
		{"{\"size\":1.5}", 0},
		{"{\"size\":\"8\"}", 0},
		{"{\"size\":null}", 0},
		{"{\"size\":[8]}", 0},
		{"{\"size\":1e400}", 0},
		{"{\"size\":1024}", CURVE_MOST},
		{"{\"size\":1025}", CURVE_MOST},
		{"{\"size\":4294967297}", CURVE_MOST},
		{"{\"size\":18446744073709551615}", CURVE_MOST},
		{"{\"size\":18446744073709551616}", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct batching b = {0};

		batching_read(&b, str_of(cases[i].text));
		if (b.size != cases[i].size || b.n)
			fail_msg("'%s': %u, %u points", cases[i].text, b.size,
				 b.n);
	}
}

static void points_that_make_no_sense_are_left_out(void **state)
{
	static const char *const none[] = {
		"7",	      "{}",	     "\"x\"",	      "null",
		"[7]",	      "[null]",	     "[{}]",	      "[[]]",
		"[[1]]",      "[[0,5,6]]",   "[[-1,5,6]]",    "[[1,0,6]]",
		"[[1,-5,6]]", "[[1,5.5,6]]", "[[\"1\",5,6]]", "[[[1],5,6]]",
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		struct batching b = {0};

		snprintf(text, sizeof text, "{\"size\":4,\"points\":%s}",
			 none[i]);
		assert_true(batching_read(&b, str_of(text)));
		if (b.size != 4 || b.n)
			fail_msg("'%s': %u points", text, b.n);
	}
}

/* By size, the 99th percentile not below the mean, an hour at most. */
static void points_are_put_right(void **state)
{
	const uint64_t hour = 3600 * UINT64_C(1000000000);
	struct batching b;

	(void)state;
	assert_true(batching_read(
		&b, STR("{\"points\":[[2,50,20],[2,60,70],[1,5,6],[3,7],"
			"[9999,18446744073709551615,18446744073709551615,1],"
			"[9999,1,1]]}")));
	assert_int_equal(b.size, 0);
	assert_int_equal(b.n, 3);
	assert_int_equal(b.points[0].size, 2);
	assert_int_equal(b.points[0].p99_ns, 50);
	assert_int_equal(b.points[1].size, 3);
	assert_int_equal(b.points[1].p99_ns, 7);
	assert_int_equal(b.points[2].size, CURVE_MOST);
	assert_true(b.points[2].mean_ns == hour && b.points[2].p99_ns == hour);
}

static void more_points_than_there_are_classes(void **state)
{
	struct batching b;
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 16);
	buf_adds(&text, "{\"points\":[");
	for (int i = 1; i <= 1000; i++)
		buf_addf(&text, "%s[%d,5,6]", i > 1 ? "," : "", i);
	buf_adds(&text, "]}");
	assert_true(batching_read(&b, (struct str){text.data, text.len}));
	assert_int_equal(b.n, CURVE_CLASSES);
	assert_int_equal(b.points[CURVE_CLASSES - 1].size, CURVE_CLASSES);
	buf_fini(&text);
}

/* Deeper than anybody nests. */
static void a_deep_one_ends(void **state)
{
	cleanup_free char *deep = mem_alloc(160000);
	struct batching b = {.size = 5};
	size_t n = (size_t)snprintf(deep, 100, "{\"points\":");

	(void)state;
	memset(deep + n, '[', 150000);
	assert_false(batching_read(&b, (struct str){deep, n + 150000}));
	assert_int_equal(b.size, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_is_read),
		cmocka_unit_test(what_is_no_object_changes_nothing),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(points_that_make_no_sense_are_left_out),
		cmocka_unit_test(points_are_put_right),
		cmocka_unit_test(more_points_than_there_are_classes),
		cmocka_unit_test(a_deep_one_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
