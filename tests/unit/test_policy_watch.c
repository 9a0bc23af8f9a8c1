/* Whether a new version is worse: known tails, false alarms, what is found. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"
#include "policy/watch.h"

static double chance(uint64_t e, uint64_t n, uint64_t failed, uint64_t of)
{
	const struct chance_sample now = {n, e}, before = {of, failed};

	return watch_chance(&now, &before);
}

static bool worse(uint64_t e, uint64_t n, uint64_t failed, uint64_t of)
{
	const struct chance_sample now = {n, e}, before = {of, failed};

	return watch_is_worse(&now, &before);
}

static bool is_near(double a, double b)
{
	return fabs(a - b) < 1e-9;
}

/* By counting: with nothing known before, one failure in a hundred is taken to
 * have been. 2 of 2 are 3 over 2 of 102 over 2. */
static void tails(void **state)
{
	(void)state;
	assert_true(is_near(chance(0, 10, 3, 50), 1));
	assert_true(is_near(chance(2, 2, 0, 0), 3.0 / (102.0 * 101 / 2)));
	assert_true(is_near(chance(1, 1, 0, 0), 2.0 / 101));
	assert_true(is_near(chance(3, 3, 0, 0), 4.0 / (103.0 * 102 * 101 / 6)));
}

static void what_is_found(void **state)
{
	(void)state;
	/* Every call fails. */
	assert_false(worse(1, 1, 0, 100000));
	assert_true(worse(3, 3, 0, 0));
	assert_true(worse(2, 2, 0, 1000));
	/* One in five, and what was before is known. */
	assert_true(worse(4, 20, 0, 1000));
	assert_true(worse(12, 60, 0, 0));
	/* It was so before, too. */
	assert_false(worse(20, 100, 200, 1000));
	assert_false(worse(100, 100, 1000, 1000));
	/* Many requests, a failure now and then. */
	assert_false(worse(30, 20000, 20, 20000));
	assert_true(worse(400, 20000, 20, 20000));
}

static uint64_t seed = 7;

static double dice(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (double)(seed >> 11) / 9007199254740992.0;
}

/* As many as were said, of versions that are as good as the one before. */
static void false_alarms(void **state)
{
	enum { RUNS = 400, REQUESTS = 1000 };
	static const double rates[] = {0, 0.001, 0.01, 0.1, 0.5};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		unsigned alarms = 0;

		for (int run = 0; run < RUNS; run++) {
			struct chance_sample now = {0}, before = {0};
			bool alarm = false;

			for (int k = 0; k < REQUESTS; k++)
				watch_add(&before, dice() < rates[i]);
			for (int k = 0; k < REQUESTS && !alarm; k++) {
				bool failed = dice() < rates[i];

				watch_add(&now, failed);
				if (failed)
					alarm = watch_is_worse(&now, &before);
			}
			alarms += alarm;
		}
		print_message("%g of requests fail: %u false alarms in %d\n",
			      rates[i], alarms, RUNS);
		assert_true(alarms <= RUNS * WATCH_ALARM);
	}
}

/* One request in five fails: found after so many requests, whatever was known.
 */
static void soon(void **state)
{
	enum { RUNS = 200 };
	static const uint64_t known[] = {0, 100, 10000};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		uint64_t sum = 0;

		for (int run = 0; run < RUNS; run++) {
			const struct chance_sample before = {known[i], 0};
			struct chance_sample now = {0};

			do {
				watch_add(&now, dice() < 0.2);
			} while (!watch_is_worse(&now, &before));
			sum += now.requests;
		}
		print_message("%llu known: found after %llu requests\n",
			      (unsigned long long)known[i],
			      (unsigned long long)(sum / RUNS));
		assert_true(sum / RUNS < 80);
	}
}

static void what_is_long_ago_fades(void **state)
{
	struct chance_sample c = {0};

	(void)state;
	for (int i = 0; i < 1000000; i++)
		watch_add(&c, true);
	for (int i = 0; i < 200000; i++)
		watch_add(&c, false);
	assert_true(c.requests <= 20001);
	assert_true(c.errors < 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tails),
		cmocka_unit_test(what_is_found),
		cmocka_unit_test(false_alarms),
		cmocka_unit_test(soon),
		cmocka_unit_test(what_is_long_ago_fades),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
