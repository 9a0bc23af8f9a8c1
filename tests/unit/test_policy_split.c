/* Which target of a splitter has a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "policy/split.h"

enum { REQUESTS = 100000 };

static void shares_are_exact(void **state)
{
	struct split_target t[] = {
		{.weight = 1}, {.weight = 29}, {.weight = 0}, {.weight = 70}};
	unsigned had[4] = {0};

	(void)state;
	for (int i = 1; i <= REQUESTS; i++) {
		had[split_next(t, 4)]++;
		assert_true(abs((int)had[3] * 100 - 70 * i) <= 300);
	}
	assert_int_equal(had[0], REQUESTS / 100);
	assert_int_equal(had[1], REQUESTS / 100 * 29);
	assert_int_equal(had[2], 0);
	assert_int_equal(had[3], REQUESTS / 100 * 70);
}

/* Weights as asked for within 1%; what moves goes to the one that grows. */
static void keys_stay_and_few_move(void **state)
{
	struct split_target a[] = {{90, split_hash("a", 1), 0},
				   {10, split_hash("b", 1), 0}};
	struct split_target b[] = {{70, a[0].seed, 0}, {30, a[1].seed, 0}};
	unsigned second = 0, moved = 0, back = 0;
	char key[32];

	(void)state;
	for (int i = 0; i < REQUESTS; i++) {
		size_t n = (size_t)snprintf(key, sizeof key, "user-%d", i);
		int was = split_sticky(a, 2, key, n);
		int is = split_sticky(b, 2, key, n);

		assert_int_equal(was, split_sticky(a, 2, key, n));
		second += was == 1;
		moved += was != is;
		back += was == 1 && is == 0;
	}
	assert_in_range(second, REQUESTS * 9 / 100, REQUESTS * 11 / 100);
	assert_in_range(moved, REQUESTS * 19 / 100, REQUESTS * 21 / 100);
	assert_int_equal(back, 0);
}

static void copies_are_a_share(void **state)
{
	uint32_t credit = 0, n = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		n += split_copies(&credit, 7);
	assert_int_equal(n, 70);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_exact),
		cmocka_unit_test(keys_stay_and_few_move),
		cmocka_unit_test(copies_are_a_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
