/* Whether a canary goes on, stays or goes back: exact numbers, and many ramps
 * by a seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "policy/canary.h"

enum { MINUTE = 60000 };

static const struct canary_plan plan = {.steps = 3,
					.every_ms = 10 * MINUTE,
					.min_requests = 100,
					.max_errors = 0.01};

static void near(double is, double want)
{
	if (fabs(is - want) > 1e-9 * want)
		fail_msg("%.12g is not %.12g", is, want);
}

/* Fisher's tea: three of four is 17 of 70, four of four 1 of 70. */
static void fisher_is_exact(void **state)
{
	struct chance_sample tea = {4, 3}, rest = {4, 1};

	(void)state;
	near(chance_fisher(tea, rest), 17.0 / 70);
	near(chance_fisher((struct chance_sample){4, 4},
			   (struct chance_sample){4, 0}),
	     1.0 / 70);
	/* 5 of 20 beside 2 of 80: sum of C(20,k) C(80,7-k) / C(100,7). */
	near(chance_fisher((struct chance_sample){20, 5},
			   (struct chance_sample){80, 2}),
	     (15504.0 * 3160 + 38760.0 * 80 + 77520.0) / 16007560800.0);
	near(chance_fisher((struct chance_sample){1, 1},
			   (struct chance_sample){1000000, 0}),
	     1.0 / 1000001);
	assert_true(chance_fisher((struct chance_sample){10, 0}, rest) >= 1);
	assert_true(chance_fisher(tea, (struct chance_sample){0, 0}) >= 1);
}

static void binomial_is_exact(void **state)
{
	(void)state;
	near(chance_binomial((struct chance_sample){3, 2}, 0.25),
	     3 * 0.0625 * 0.75 + 0.015625);
	near(chance_binomial((struct chance_sample){10, 10}, 0.5), 1.0 / 1024);
	assert_true(chance_binomial((struct chance_sample){10, 0}, 0) >= 1);
	assert_true(chance_binomial((struct chance_sample){10, 1}, 0) <= 0);
	assert_true(chance_binomial((struct chance_sample){100, 1}, 0.5) >= 1);
}

/* Large numbers are neither slow nor no numbers. */
static void many_requests(void **state)
{
	const struct chance_sample its = {1000000000, 30000000},
				   others = {4000000000, 80000000};
	double p = chance_fisher(its, others);

	(void)state;
	assert_true(p >= 0 && p < 1e-100);
	p = chance_fisher((struct chance_sample){1000000000, 20000100}, others);
	assert_true(p > 0.1 && p < 0.6);
	p = chance_binomial((struct chance_sample){1000000000, 20000100}, 0.02);
	assert_true(p > 0.3 && p < 0.6);
}

static void add(struct canary *c, bool its, unsigned n, unsigned errors)
{
	for (unsigned i = 0; i < n; i++)
		canary_add(c, its, i < errors);
}

static void it_goes_on_by_time_and_requests(void **state)
{
	struct canary c = {0};
	struct canary_verdict v;

	(void)state;
	add(&c, false, 5000, 0);
	add(&c, true, 99, 0);
	v = canary_decide(&plan, &c, 10 * MINUTE - 1);
	assert_int_equal(v.move, CANARY_STAY);
	assert_false(v.few);
	v = canary_decide(&plan, &c, 1000 * MINUTE);
	assert_int_equal(v.move, CANARY_STAY);
	assert_true(v.few);
	add(&c, true, 1, 0);
	v = canary_decide(&plan, &c, 10 * MINUTE - 1);
	assert_int_equal(v.move, CANARY_STAY);
	v = canary_decide(&plan, &c, 10 * MINUTE);
	assert_int_equal(v.move, CANARY_ON);
	assert_int_equal(c.step, 1);
	assert_int_equal(c.its.requests + c.others.requests + c.looks, 0);
	c.step = 2;
	add(&c, true, 100, 0);
	assert_int_equal(canary_decide(&plan, &c, 10 * MINUTE).move,
			 CANARY_END);
}

static void it_goes_back_at_once(void **state)
{
	struct canary c = {0};
	struct canary_verdict v;

	(void)state;
	add(&c, false, 152, 0);
	add(&c, true, 7, 7);
	assert_int_equal(canary_decide(&plan, &c, 0).move, CANARY_STAY);
	add(&c, true, 1, 1);
	v = canary_decide(&plan, &c, 0);
	assert_int_equal(v.move, CANARY_BACK);
	assert_true(v.as_others <= v.bound && v.as_allowed <= v.bound);
}

/* A dependency that fails for all is no fault of its, and what is put up with
 * is. */
static void what_is_no_reason(void **state)
{
	struct canary c = {0};
	struct canary_plan lenient = plan;

	(void)state;
	add(&c, false, 10000, 5000);
	add(&c, true, 500, 252);
	assert_int_equal(canary_decide(&plan, &c, 10 * MINUTE).move, CANARY_ON);
	c = (struct canary){0};
	lenient.max_errors = 0.3;
	add(&c, false, 100000, 0);
	add(&c, true, 1000, 280);
	assert_int_equal(canary_decide(&lenient, &c, 10 * MINUTE).move,
			 CANARY_ON);
	c = (struct canary){0};
	add(&c, false, 100000, 0);
	add(&c, true, 1000, 280);
	assert_int_equal(canary_decide(&plan, &c, 10 * MINUTE).move,
			 CANARY_BACK);
}

static void alone_it_is_held_to_what_it_may(void **state)
{
	struct canary c = {0};

	(void)state;
	add(&c, true, 100, 2);
	assert_int_equal(canary_decide(&plan, &c, 10 * MINUTE).move, CANARY_ON);
	add(&c, true, 100, 20);
	assert_int_equal(canary_decide(&plan, &c, 0).move, CANARY_BACK);
}

/* ---- many ramps ---- */

struct dice {
	uint64_t state;
};

static double roll(struct dice *d)
{
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return (double)(d->state >> 11) / 0x1p53;
}

/* One ramp, asked after each request. Returns how it ended; *ret_n: its
 * requests until then. */
static enum canary_move ramp(struct dice *d, const struct canary_plan *p,
			     const double *weights, double its, double others,
			     unsigned per_step, unsigned *ret_n)
{
	struct canary c = {0};
	unsigned n = 0;

	for (uint32_t step = 0; step < p->steps;) {
		for (unsigned i = 0;; i++) {
			bool is = roll(d) < weights[step];
			struct canary_verdict v;
			struct canary had;

			canary_add(&c, is, roll(d) < (is ? its : others));
			n += is;
			had = c;
			v = canary_decide(p, &c,
					  i < per_step ? 0 : p->every_ms);
			*ret_n = n;
			assert_int_equal(c.step, step + (v.move == CANARY_ON));
			if (v.move == CANARY_STAY)
				continue;
			if (v.move != CANARY_BACK) {
				assert_true(i >= per_step);
				assert_true(had.its.requests >=
					    p->min_requests);
			}
			if (v.move != CANARY_ON)
				return v.move;
			step++;
			break;
		}
	}
	return CANARY_STAY;
}

static const double thirds[] = {0.05, 0.25, 0.5};

/* As good as the others: by mistake in a hundredth of ramps at most, however
 * bad all are. */
static void false_alarms_are_bounded(void **state)
{
	static const double rates[] = {0.001, 0.02, 0.1, 0.5};
	enum { RAMPS = 400 };

	(void)state;
	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
		struct canary_plan strict = plan;
		struct dice d = {.state = 7 + i};
		unsigned back = 0, n;

		strict.max_errors = 0;
		for (int k = 0; k < RAMPS; k++)
			back += ramp(&d, &strict, thirds, rates[i], rates[i],
				     2000, &n) == CANARY_BACK;
		/* 4 are expected at most; 12 has a probability of 0.001. */
		assert_true(back <= 12);
	}
}

static void bad_ones_go_back_soon(void **state)
{
	enum { RAMPS = 300 };
	struct dice d = {.state = 99};
	unsigned back = 0, most = 0, n;

	(void)state;
	for (int k = 0; k < RAMPS; k++) {
		back += ramp(&d, &plan, thirds, 0.2, 0.01, 4000, &n) ==
			CANARY_BACK;
		most = n > most ? n : most;
	}
	assert_int_equal(back, RAMPS);
	/* Of twenty requests of its four fail: a hundred tell. */
	assert_true(most < 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fisher_is_exact),
		cmocka_unit_test(binomial_is_exact),
		cmocka_unit_test(many_requests),
		cmocka_unit_test(it_goes_on_by_time_and_requests),
		cmocka_unit_test(it_goes_back_at_once),
		cmocka_unit_test(what_is_no_reason),
		cmocka_unit_test(alone_it_is_held_to_what_it_may),
		cmocka_unit_test(false_alarms_are_bounded),
		cmocka_unit_test(bad_ones_go_back_soon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
