/* The size that a curve of latency leads to, for models and arrivals of all
 * kinds, in simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "curve_simulation.h"

static double affine(double n, double at)
{
	(void)at;
	return 10 + n;
}

static double flat(double n, double at)
{
	(void)n, (void)at;
	return 20;
}

static double in_proportion(double n, double at)
{
	(void)at;
	return 3 * n;
}

static double superlinear(double n, double at)
{
	(void)at;
	return 5 + 0.5 * n + 0.02 * n * n;
}

/* A second pass of the device from 25 on. */
static double with_a_step(double n, double at)
{
	(void)at;
	return 8 + 0.2 * n + (n > 24 ? 25 : 0);
}

static double slow(double n, double at)
{
	(void)at;
	return 80 + n;
}

/* Three times as slow for a while. */
static double drifting(double n, double at)
{
	return (at > 60000 && at < 120000 ? 3 : 1) * (4 + 0.5 * n);
}

/* A GPU's: as long for one as for all that it can do at once. */
static double gpu(double n, double at)
{
	(void)at;
	return 8 + MAX(n - 32, 0.0) * 0.18;
}

/* That shares it with somebody. */
static double gpu_that_drifts(double n, double at)
{
	return gpu(n, 0) * (1 + 0.5 * sin(at / 700));
}

/* Small, on a CPU. */
static double mlp(double n, double at)
{
	(void)at;
	return 2 + 0.28 * n;
}

static double flat_and_slow(double n, double at)
{
	(void)n, (void)at;
	return 60;
}

static const struct kind {
	const char *name;
	model_fn *model;
	double target;
	uint32_t most;
} kinds[] = {
	{"affine", affine, 100, 256},
	{"affine, bounded", affine, 1000, 32},
	{"flat", flat, 100, 64},
	{"in proportion", in_proportion, 100, 256},
	{"superlinear", superlinear, 200, 256},
	{"superlinear, bounded by the target", superlinear, 40, 256},
	{"a step", with_a_step, 100, 256},
	{"slower than the target", slow, 100, 256},
};

/* Always enough clients: the slot does about the best that it could, and the
 * size stays. */
static void finds_the_best_size(double noise, double least, uint32_t changes)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct simulation *s =
			sim(kinds[i].model, kinds[i].target, kinds[i].most);
		double rate;

		s->noise = noise;
		s->clients = 600;
		simulate(s);
		rate = s->served / s->busy;
		print_message("%s, noise %.2f: size %u, %.3f of %.3f per ms, "
			      "%u changes\n",
			      kinds[i].name, noise, curve_size(&s->curve), rate,
			      best_rate(s), s->changes);
		assert_true(rate >= least * best_rate(s));
		/* Now and then what was given up is tried again. */
		assert_true(s->changes <= changes + s->batches / 256);
	}
}

static void without_noise(void **state)
{
	(void)state;
	finds_the_best_size(0, 0.95, 12);
}

static void with_noise(void **state)
{
	(void)state;
	finds_the_best_size(0.05, 0.93, 60);
	finds_the_best_size(0.2, 0.85, 200);
}

/* An open loop at four fifths of what is possible: nearly all are in time. */
static void an_open_loop_keeps_the_target(void **state)
{
	(void)state;
	for (size_t i = 0; i + 1 < ARRAY_LEN(kinds); i++) {
		struct simulation *s =
			sim(kinds[i].model, kinds[i].target, kinds[i].most);

		s->noise = 0.05;
		s->rate = 0.8 * best_rate(s);
		simulate(s);
		print_message("%s, open: size %u, %u of %u late\n",
			      kinds[i].name, curve_size(&s->curve), s->late,
			      s->served);
		assert_true(s->late <= s->served / 100);
		assert_true(s->held <= s->until / 2 / 100);
	}
}

/* Models of which the first batch of each size takes long. */
static const struct warm_case {
	const char *name;
	model_fn *model;
	double cold, noise;
	uint32_t clients, most;
} warm_cases[] = {
	{"mlp", mlp, 0, 0.05, 64, 128},
	{"mlp, warming", mlp, 50, 0.05, 64, 128},
	{"a GPU", gpu, 300, 0, 256, 128},
	{"a GPU, noise", gpu, 300, 0.1, 256, 128},
	{"a GPU, larger batches", gpu, 300, 0.05, 600, 256},
	{"a GPU that is shared", gpu_that_drifts, 300, 0.05, 256, 128},
	{"a GPU, 50 ms", gpu, 50, 0.1, 256, 128},
	{"a GPU, 3 s", gpu, 3000, 0.1, 256, 128},
};

static void the_first_of_a_size_is_not_typical(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(warm_cases); i++) {
		const struct warm_case *k = &warm_cases[i];

		for (unsigned seed = 1; seed <= 8; seed++) {
			struct simulation *s = sim(k->model, 100, k->most);

			s->noise = k->noise;
			s->cold = k->cold;
			s->clients = k->clients;
			s->random = seed;
			simulate(s);
			print_message("%s: size %u after %.0f ms and %.0f of "
				      "firsts, then %u of %u batches of "
				      "others; %.2f of %.2f per ms\n",
				      k->name, curve_size(&s->curve), s->found,
				      s->warming, s->lost, s->in + s->lost,
				      s->served / s->busy, best_rate(s));
			assert_true(s->found > 0 && s->found <= 1500);
			assert_true(s->lost <= (s->in + s->lost) / 20);
		}
	}
}

static void an_open_loop_on_a_cold_device(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 8; seed++) {
		struct simulation *s = sim(gpu, 100, 128);

		s->noise = 0.1;
		s->cold = 300;
		s->rate = 2;
		s->until = 120000;
		s->random = seed;
		simulate(s);
		print_message("2000/s: size %u, %.0f ms of firsts, %u of %u "
			      "late\n",
			      curve_size(&s->curve), s->warming, s->late,
			      s->served);
		assert_true(s->served >= 0.98 * s->rate * s->until / 2);
		/* Some sizes come for the first time late. */
		assert_true(s->late <= s->served / 10);
	}
}

/* Nearly half of the target for single ones, as for 32, and now and then more:
 * with so many there single ones would be no sooner. */
static void under_overload_the_mean_counts(void **state)
{
	struct simulation *s = sim(gpu, 20, 128);

	(void)state;
	s->noise = 0.3;
	s->cold = 50;
	s->clients = 256;
	simulate(s);
	print_message("256 clients, 20 ms: size %u, %.2f per ms\n",
		      curve_size(&s->curve), s->served / s->busy);
	assert_true(s->served / s->busy >= 0.5 * 32 / 8);
}

/* The target cannot be kept by any size, and smaller ones are the slower. When
 * the crowd has gone, so have the large batches. */
static void a_crowd_is_answered_sooner(void **state)
{
	struct simulation *s = sim(flat_and_slow, 100, 128);
	struct curve c = {.target = 100 * (uint64_t)MS, .most = 128};

	(void)state;
	s->noise = 0.05;
	s->clients = 64;
	simulate(s);
	print_message("64 clients, 60 ms each: size %u, %.3f per ms\n",
		      curve_size(&s->curve), s->served / s->busy);
	assert_true(s->served / s->busy >= 0.9 * 32 / 60);
	/* Faster than one by one. */
	s->clients = 0;
	s->rate = 0.1;
	simulate(s);
	print_message("100/s, 60 ms each: size %u, %u of %u late\n",
		      curve_size(&s->curve), s->late, s->served);
	assert_true(s->served >= 0.98 * s->rate * s->until / 2);
	for (unsigned i = 0; i < 100; i++) {
		curve_there(&c, 64);
		curve_learn(&c, curve_size(&c), 60 * (uint64_t)MS);
	}
	assert_true(curve_size(&c) >= 48);
	for (unsigned i = 0; i < 100; i++) {
		curve_there(&c, 2);
		curve_learn(&c, 2, 60 * (uint64_t)MS);
	}
	assert_true(curve_size(&c) <= 2);
}

static void few_requests_wait_for_nobody(void **state)
{
	struct simulation *s = sim(affine, 100, 64);

	(void)state;
	s->rate = 0.002;
	s->until = 600000;
	simulate(s);
	assert_true(s->batches >= s->served * 0.95);
	assert_true(s->held <= 1);
}

/* Fewer clients than a batch could take: all of them are in each, where taking
 * who is there would make two groups of them, and twice the overhead. */
static void few_clients_share_batches(void **state)
{
	(void)state;
	for (uint32_t clients = 1; clients <= 16; clients++) {
		struct simulation *s = sim(affine, 100, 64);

		s->clients = clients;
		simulate(s);
		assert_true(s->served / s->busy >=
			    0.95 * clients / affine(clients, 0));
		assert_true(s->held <= s->until / 2 / 20);
	}
}

/* A model that becomes slower, and fast again. */
static void the_size_follows_the_model(void **state)
{
	struct simulation *s = sim(drifting, 100, 256);
	uint32_t fast, slowly;

	(void)state;
	s->noise = 0.02;
	s->clients = 600;
	s->until = 59000;
	simulate(s);
	fast = curve_size(&s->curve);
	s->until = 119000;
	simulate(s);
	slowly = curve_size(&s->curve);
	assert_true(2 * drifting(slowly, 100000) <= 105);
	s->until = 240000;
	simulate(s);
	print_message("%u, slower %u, again %u\n", fast, slowly,
		      curve_size(&s->curve));
	assert_true(slowly < fast / 2);
	assert_true(curve_size(&s->curve) >= fast * 0.9);
}

/* One batch in a hundred takes ten times as long: that is not the model. */
static void outliers_are_no_trend(void **state)
{
	struct curve c = {.target = 200 * (uint64_t)MS, .most = 32};

	(void)state;
	for (unsigned i = 1; i < 1000; i++)
		curve_learn(&c, curve_size(&c), (10 + curve_size(&c)) * MS);
	assert_int_equal(curve_size(&c), 32);
	for (unsigned i = 1; i < 2000; i++) {
		uint64_t took = (10 + curve_size(&c)) * MS;

		curve_learn(&c, curve_size(&c), i % 100 ? took : 10 * took);
		assert_true(curve_size(&c) >= 24);
	}
}

static void nothing_is_tried_that_may_break_the_target(void **state)
{
	struct curve c = {.target = 100 * (uint64_t)MS, .most = 64};

	(void)state;
	assert_int_equal(curve_size(&c), 1);
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t n = curve_size(&c);

		assert_true(2 * affine(n, 0) <= 100);
		curve_learn(&c, n, (uint64_t)(affine(n, 0) * MS));
	}
	assert_true(curve_size(&c) >= 32);
	/* A first request that takes half of it leaves no room for two. */
	c = (struct curve){.target = 100 * (uint64_t)MS, .most = 64};
	for (unsigned i = 0; i < 20; i++)
		curve_learn(&c, 1, 49 * (uint64_t)MS);
	assert_int_equal(curve_size(&c), 1);
}

static void a_wait_is_worth_what_it_saves(void **state)
{
	struct curve c = {.target = 100 * (uint64_t)MS, .most = 64};

	(void)state;
	assert_int_equal(curve_wait(&c, 1), 0);
	for (unsigned i = 0; i < 200; i++)
		curve_learn(&c, curve_size(&c),
			    (uint64_t)(affine(curve_size(&c), 0) * MS));
	/* mean(1) + mean(4) - mean(5) */
	assert_in_range(curve_wait(&c, 4), 9.9 * MS, 10.1 * MS);
	/* What the target leaves: 100 - 2 * 43. */
	assert_in_range(curve_wait(&c, 34), 8 * MS, 10.1 * MS);
	assert_int_equal(curve_wait(&c, 45), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_noise),
		cmocka_unit_test(with_noise),
		cmocka_unit_test(an_open_loop_keeps_the_target),
		cmocka_unit_test(the_first_of_a_size_is_not_typical),
		cmocka_unit_test(an_open_loop_on_a_cold_device),
		cmocka_unit_test(under_overload_the_mean_counts),
		cmocka_unit_test(a_crowd_is_answered_sooner),
		cmocka_unit_test(few_requests_wait_for_nobody),
		cmocka_unit_test(few_clients_share_batches),
		cmocka_unit_test(the_size_follows_the_model),
		cmocka_unit_test(outliers_are_no_trend),
		cmocka_unit_test(nothing_is_tried_that_may_break_the_target),
		cmocka_unit_test(a_wait_is_worth_what_it_saves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
