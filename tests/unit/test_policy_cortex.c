#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/autoscale_cortex.h"

#define S 1000000000ull

/* Cortex's defaults, without its periods. */
static struct cortex_rule rule_of(uint32_t min, uint32_t max, double target)
{
	return (struct cortex_rule){
		.min = min,
		.max = max,
		.target = target,
		.max_downscale_factor = 0.75,
		.max_upscale_factor = 1.5,
		.downscale_tolerance = 0.05,
		.upscale_tolerance = 0.05,
	};
}

/* Worked by hand from the formulas of Cortex's autoscaler. */
static void one_tick(void **state)
{
	static const struct {
		uint32_t min, max, cur;
		double target, in_flight;
		uint32_t want;
	} cases[] = {
		/* Within 5%, above and below. */
		{1, 100, 4, 1, 4.15, 4},
		{1, 100, 40, 1, 41.9, 40},
		{1, 100, 40, 1, 38.1, 40},
		/* Beyond it: rounded up. */
		{1, 100, 4, 1, 4.21, 5},
		{1, 100, 40, 1, 42.1, 43},
		{1, 100, 40, 1, 37.9, 38},
		/* At most half as many again, and one at least. */
		{1, 100, 4, 1, 20, 6},
		{1, 100, 1, 1, 50, 2},
		{1, 100, 2, 1, 50, 3},
		{1, 100, 3, 1, 50, 5},
		{1, 100, 5, 1, 50, 8},
		/* At least three quarters, and one fewer at least. */
		{1, 100, 4, 1, 0, 3},
		{1, 100, 10, 1, 5, 8},
		{1, 100, 2, 1, 0.5, 1},
		{1, 100, 3, 1, 0.5, 2},
		/* min, then max. */
		{1, 100, 1, 1, 0, 1},
		{0, 100, 1, 1, 0, 0},
		{3, 100, 3, 1, 1, 3},
		{1, 100, 100, 1, 200, 100},
		{1, 5, 4, 1, 20, 5},
		/* From none. */
		{0, 100, 0, 1, 0, 0},
		{0, 100, 0, 1, 0.3, 1},
		{0, 100, 0, 1, 50, 1},
		/* Several in flight each. */
		{1, 100, 4, 2, 10, 5},
		{1, 100, 4, 2, 8.3, 4},
		{1, 100, 1, 100, 140, 2},
		{1, 100, 2, 1.6, 3.3, 2},
		{1, 100, 2, 1.6, 3.4, 3},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct cortex_rule rule =
			rule_of(cases[i].min, cases[i].max, cases[i].target);
		struct cortex_scale c = {0};

		if (cortex_scale(&c, &rule, 77 * S, cases[i].cur,
				 cases[i].in_flight) != cases[i].want)
			fail_msg("case %zu", i);
		cortex_scale_fini(&c);
	}
}

/* Ticks from `from` on, in seconds, each as many as asked for before; returns
 * the time at which `want` are asked for first. */
static unsigned until(struct cortex_scale *c, const struct cortex_rule *rule,
		      unsigned from, uint32_t *cur, double in_flight,
		      uint32_t want)
{
	for (unsigned t = from; t < from + 3600; t += CORTEX_TICK_S) {
		*cur = cortex_scale(c, rule, t * S, *cur, in_flight);
		if (*cur == want)
			return t;
	}
	return 0;
}

/* No more within the upscale period of the beginning; then each step waits
 * until the least of the last minute is more. */
static void up(void **state)
{
	struct cortex_rule rule = rule_of(1, 100, 1);
	struct cortex_scale c = {0};
	uint32_t cur = 1;

	(void)state;
	rule.upscale_period = 60 * S;
	rule.downscale_period = 300 * S;
	assert_int_equal(until(&c, &rule, 1000, &cur, 50, 2), 1060);
	/* The tick at 1060 said 2 itself; the first 3 was said at 1070. */
	assert_int_equal(until(&c, &rule, 1070, &cur, 50, 3), 1130);
	assert_int_equal(until(&c, &rule, 1140, &cur, 50, 5), 1200);
	cortex_scale_fini(&c);
}

static void down(void **state)
{
	struct cortex_rule rule = rule_of(0, 100, 1);
	struct cortex_scale c = {0};
	uint32_t cur = 4;

	(void)state;
	rule.upscale_period = 60 * S;
	rule.downscale_period = 300 * S;
	assert_int_equal(until(&c, &rule, 1000, &cur, 0, 3), 1300);
	assert_int_equal(until(&c, &rule, 1310, &cur, 0, 2), 1610);
	assert_int_equal(until(&c, &rule, 1620, &cur, 0, 1), 1920);
	assert_int_equal(until(&c, &rule, 1930, &cur, 0, 0), 2230);
	cortex_scale_fini(&c);
}

/* A dip shorter than the period is not followed, and nor is a peak; neither
 * clamp pushes across what is asked for. */
static void dips_and_peaks(void **state)
{
	struct cortex_rule rule = rule_of(1, 100, 1);
	struct cortex_scale c = {0};
	uint32_t cur = 10;
	unsigned t;

	(void)state;
	rule.upscale_period = 60 * S;
	rule.downscale_period = 300 * S;
	for (t = 0; t < 600; t += 10)
		cur = cortex_scale(&c, &rule, t * S, cur, 10);
	assert_int_equal(cur, 10);
	for (; t < 800; t += 10)
		cur = cortex_scale(&c, &rule, t * S, cur, 2);
	assert_int_equal(cur, 10);
	for (; t < 840; t += 10)
		cur = cortex_scale(&c, &rule, t * S, cur, 30);
	assert_int_equal(cur, 10);
	cortex_scale_fini(&c);
}

/* Who comes to none gets one at once, which is kept like any other. */
static void awakened(void **state)
{
	struct cortex_rule rule = rule_of(0, 100, 1);
	struct cortex_scale c = {0};
	uint32_t cur = 0;
	unsigned t;

	(void)state;
	rule.downscale_period = 300 * S;
	for (t = 0; t < 1000; t += 10)
		cur = cortex_scale(&c, &rule, t * S, cur, 0);
	assert_int_equal(cur, 0);
	cortex_awaken(&c, t * S);
	cur = 1;
	assert_int_equal(until(&c, &rule, t + 10, &cur, 0, 0), t + 310);
	cortex_scale_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_tick), cmocka_unit_test(up),
		cmocka_unit_test(down),	    cmocka_unit_test(dips_and_peaks),
		cmocka_unit_test(awakened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
