/* Whether two answers are the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <cmocka.h>
#include <uv.h>

#include "core/buf.h"
#include "core/mem.h"
#include "serve/differ.h"

static double largest;

/* Either way round. */
static bool differ(const char *a, const char *b, double tolerance)
{
	double there = 0, back = 0;
	bool d = answers_differ(str_of(a), str_of(b), tolerance, &there);

	assert_int_equal(
		d, answers_differ(str_of(b), str_of(a), tolerance, &back));
	assert_true(fabs(there - back) <= 1e-12);
	largest = there;
	return d;
}

static void json_by_its_values(void **state)
{
	static const char *const same[][2] = {
		{"{\"a\":1,\"b\":[true,null,\"x\"]}",
		 " {\"b\" : [ true, null, \"\\u0078\" ], \"a\" : 1.0 } "},
		{"{\"a\":1,\"a\":2,\"b\":3}", "{\"b\":3,\"a\":1,\"a\":2}"},
		{"{}", "{ }"},
		{"0", "-0.0"},
		{"\"\\u0000a\"", "\"\\u0000a\""},
		{"no json", "no json"},
		{"", ""},
	};
	static const char *const others[][2] = {
		{"{\"a\":1}", "{\"a\":1,\"b\":null}"},
		{"{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":1}"},
		{"{\"a\":1,\"b\":2}", "{\"b\":1,\"a\":2}"},
		{"{\"a\\u0000\":1}", "{\"a\\u0001\":1}"},
		{"[1,2]", "[2,1]"},
		{"[1]", "[1,1]"},
		{"[]", "{}"},
		{"1", "\"1\""},
		{"null", "false"},
		{"0", "1e-300"},
		{"no json", "no  json"},
		{"", "null"},
		{"{\"a\":1}", "{\"a\":1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		if (differ(same[i][0], same[i][1], 1e-6))
			fail_msg("%s and %s differ", same[i][0], same[i][1]);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (!differ(others[i][0], others[i][1], 1e-6))
			fail_msg("%s and %s are the same", others[i][0],
				 others[i][1]);
}

static void numbers_by_their_difference(void **state)
{
	(void)state;
	assert_false(differ("[1000000]", "[1000000.5]", 1e-6));
	assert_true(fabs(largest - 0.5 / 1000000.5) < 1e-12);
	assert_true(differ("[1000000]", "[1000002]", 1e-6));
	assert_false(differ("[1, 3]", "[1.5, 4]", 0.5));
	assert_true(fabs(largest - 1.0 / 3) < 1e-12);
	/* All are looked at, those behind a difference, too. */
	assert_true(differ("[\"a\", 1]", "[\"b\", 2]", 1));
	assert_true(fabs(largest - 0.5) < 1e-12);
	assert_true(
		differ("{\"a\":\"x\",\"b\":4}", "{\"b\":3,\"a\":\"y\"}", 1));
	assert_true(fabs(largest - 0.25) < 1e-12);
	/* Opposite ones differ by two, and no number is beyond numbers. */
	assert_true(differ("1.7e308", "-1.7e308", 1));
	assert_true(fabs(largest - 2) < 1e-12);
	assert_true(differ("9007199254740993", "9007199254740992", 0));
	assert_false(differ("9007199254740993", "9007199254740992", 1e-6));
	assert_false(differ("1", "1.0", 0));
}

static void largest_is_only_raised(void **state)
{
	double n = 0.7;

	(void)state;
	answers_differ(STR("[1]"), STR("[2]"), 0, &n);
	assert_true(fabs(n - 0.7) < 1e-12);
	answers_differ(STR("[1]"), STR("[10]"), 0, &n);
	assert_true(fabs(n - 0.9) < 1e-12);
}

static char *deep(size_t n, const char *inside)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	for (size_t i = 0; i < n; i++)
		buf_addc(&b, '[');
	buf_adds(&b, inside);
	for (size_t i = 0; i < n; i++)
		buf_addc(&b, ']');
	return buf_take(&b, NULL);
}

static void depth_is_bounded(void **state)
{
	cleanup_free char *a = deep(200, "1"), *b = deep(200, "2");
	cleanup_free char *c = deep(100000, "1");

	(void)state;
	assert_false(differ(a, a, 0));
	assert_true(differ(a, b, 0));
	assert_true(differ(c, c, 0)); /* nobody says that they are the same */
}

static char *members(int from, int to, int by)
{
	struct buf b;

	buf_init(&b, 4 << 20);
	for (int i = from; i != to; i += by)
		buf_addf(&b, "%c\"key-%d\":%d", i == from ? '{' : ',', i, i);
	buf_addc(&b, '}');
	return buf_take(&b, NULL);
}

/* In the other order: to look each up would take minutes. */
static void many_members_take_no_square(void **state)
{
	enum { MANY = 50000 };
	cleanup_free char *up = members(0, MANY, 1);
	cleanup_free char *down = members(MANY - 1, -1, -1);
	uint64_t begun = uv_hrtime();

	(void)state;
	assert_false(differ(up, down, 0));
	assert_in_range((uv_hrtime() - begun) / 1000000, 0, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_by_its_values),
		cmocka_unit_test(numbers_by_their_difference),
		cmocka_unit_test(largest_is_only_raised),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(many_members_take_no_square),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
