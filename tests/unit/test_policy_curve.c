/* The size that a curve of latency leads to, for models and arrivals of all
 * kinds, in simulated time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "policy/batch.h"
#include "policy/curve.h"

enum { MS = 1000000, REQUESTS_MAX = 400000 };

/* What a batch of n takes in ms, at a time in ms. */
typedef double model_fn(double n, double at);

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

struct simulation {
	model_fn *model;
	double target, noise;	/* ms; of the time, as a share */
	uint32_t most, clients; /* 0 clients: an open loop at `rate` */
	double rate;		/* per ms */
	double until;		/* ms */
	unsigned random;

	struct curve curve;
	struct batch_callers callers;
	double queue[REQUESTS_MAX]; /* when each arrived */
	uint32_t first, last;
	double next; /* arrival of an open loop */
	/* Of the second half. */
	uint32_t changes, served, late, batches;
	double busy, held; /* the slot; while something waited */
};

static double uniform(struct simulation *s)
{
	return ((double)rand_r(&s->random) + 1) / ((double)RAND_MAX + 2);
}

static double took_of(struct simulation *s, uint32_t n, double at)
{
	/* About normal, of deviation 1. */
	double normal = uniform(s) + uniform(s) + uniform(s) + uniform(s) - 2;

	return s->model(n, at) * (1 + s->noise * normal * 1.73);
}

static void arrive(struct simulation *s, double at)
{
	assert_true(s->last < REQUESTS_MAX);
	s->queue[s->last++] = at;
	batch_arrived(&s->callers, (uint64_t)(at * MS));
}

static void arrive_until(struct simulation *s, double at)
{
	while (s->rate > 0 && s->next <= at) {
		arrive(s, s->next);
		s->next += -log(uniform(s)) / s->rate;
	}
}

/* A batch; returns when it ends. */
static double run(struct simulation *s, uint32_t n, double at)
{
	double took = took_of(s, n, at), end = at + took;
	uint32_t before = curve_size(&s->curve), left;

	arrive_until(s, end);
	left = s->last - s->first - n;
	for (uint32_t i = s->first; i < s->first + n; i++)
		if (end - s->queue[i] > s->target && at > s->until / 2)
			s->late++;
	s->first += n;
	curve_learn(&s->curve, n, (uint64_t)(took * MS));
	batch_answered(&s->callers, n, left, (uint64_t)(end * MS));
	if (at > s->until / 2) {
		s->served += n;
		s->batches++;
		s->busy += took;
		s->changes += curve_size(&s->curve) != before;
	}
	for (uint32_t i = 0; s->clients && i < n; i++)
		arrive(s, end + 0.01 * (i + 1));
	return end;
}

/* How long the slot and the oldest have waited for others. */
static uint64_t idle_for(const struct simulation *s, double now)
{
	double ended = (double)s->callers.ended / MS;

	return (uint64_t)((now - MAX(s->queue[s->first], ended)) * MS);
}

/* One slot, until s->until. */
static void simulate(struct simulation *s)
{
	double now = 0, before;

	s->curve = (struct curve){.target = (uint64_t)(s->target * MS),
				  .most = s->most};
	s->callers = (struct batch_callers){.window = MS};
	s->first = s->last = s->changes = s->served = s->late = 0;
	s->busy = s->held = 0;
	s->batches = 0;
	s->next = 1;
	s->random = s->random ? s->random : 1;
	for (uint32_t i = 0; i < s->clients; i++)
		arrive(s, 1 + 0.01 * i);
	while (now < s->until) {
		struct batch_facts f = {.slot_free = true};
		struct batch_verdict v;
		uint32_t there = 0;

		arrive_until(s, now);
		while (s->first + there < s->last &&
		       s->queue[s->first + there] <= now)
			there++;
		f.waiting = there;
		f.max = curve_size(&s->curve);
		f.interval = there ? curve_wait(&s->curve, there) : 0;
		f.age = there ? idle_for(s, now) : 0;
		f.expected = batch_expected(&s->callers, (uint64_t)(now * MS));
		v = batch_decide(&f);
		if (there >= f.max)
			assert_int_equal(v.take, f.max);
		before = now;
		if (v.take)
			now = run(s, v.take, now);
		else if (s->first + there < s->last)
			now = MAX(s->queue[s->first + there], now + 1e-4);
		else if (s->rate > 0)
			now = MAX(s->next, now + 1e-4);
		else
			now += 0.05;
		if (!v.take && there && now > s->until / 2)
			s->held += now - before;
	}
}

/* The most requests per ms of any size that keeps the target. */
static double best_rate(const struct simulation *s)
{
	double best = 0;

	for (uint32_t n = 1; n <= s->most; n++)
		if (2 * s->model(n, 0) * (1 + 2.4 * s->noise) <= s->target ||
		    n == 1)
			best = MAX(best, n / s->model(n, 0));
	return best;
}

static struct simulation *sim(model_fn *model, double target, uint32_t most)
{
	static struct simulation s;

	memset(&s, 0, sizeof s);
	s.model = model;
	s.target = target;
	s.most = most;
	s.until = 60000;
	return &s;
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
		cmocka_unit_test(few_requests_wait_for_nobody),
		cmocka_unit_test(few_clients_share_batches),
		cmocka_unit_test(the_size_follows_the_model),
		cmocka_unit_test(outliers_are_no_trend),
		cmocka_unit_test(nothing_is_tried_that_may_break_the_target),
		cmocka_unit_test(a_wait_is_worth_what_it_saves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
