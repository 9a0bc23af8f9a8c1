/* curve_simulation.h: a slot whose batches are as large as a curve says, in
 * simulated time. */
#ifndef CURVE_SIMULATION_H
#define CURVE_SIMULATION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "policy/batch.h"
#include "policy/curve.h"

enum { MS = 1000000, REQUESTS_MAX = 400000 };

/* What a batch of n takes in ms, at a time in ms. */
typedef double model_fn(double n, double at);

struct simulation {
	model_fn *model;
	double cold;		/* ms more, of a size's first batch */
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
	bool ran[CURVE_MOST + 1];
	double warming;	   /* ms, by the firsts */
	double found;	   /* ms until the size was about the best, without */
	uint32_t in, lost; /* batches since: with such a size, and another */
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

	double took = s->model(n, at) * (1 + s->noise * normal * 1.73);

	if (!s->ran[n]) {
		s->ran[n] = true;
		s->warming += s->cold;
		took += s->cold;
	}
	return took;
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

/* Whether it is found, and stays. */
static void look_at_size(struct simulation *s, double end)
{
	uint32_t n = curve_size(&s->curve);
	bool good = n / s->model(n, 0) >= 0.9 * best_rate(s);

	if (s->found > 0)
		*(good ? &s->in : &s->lost) += 1;
	else if (good)
		s->found = end - s->warming;
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
	curve_there(&s->curve, n + left);
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
	s->busy = s->held = s->warming = s->found = 0;
	s->in = s->lost = 0;
	memset(s->ran, 0, sizeof s->ran);
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
		if (v.take) {
			now = run(s, v.take, now);
			look_at_size(s, now);
		} else if (s->first + there < s->last)
			now = MAX(s->queue[s->first + there], now + 1e-4);
		else if (s->rate > 0)
			now = MAX(s->next, now + 1e-4);
		else
			now += 0.05;
		if (!v.take && there && now > s->until / 2)
			s->held += now - before;
	}
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

#endif
