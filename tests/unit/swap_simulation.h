/* swap_simulation.h: models, their requests and a machine's memory, on a clock
 * of their own, with what swap_next says done, and checked:
 *
 *  1. nothing is evicted while it loads,
 *  2. a request has its lease before what was loaded for it may go,
 *  3. nor is anything evicted that has requests in flight;
 *  4. a load begins only when its memory is free, beside what other loads have
 *     still to take: a process that has ended frees its own a little later;
 *  5. two loads of one model never run together,
 *  6. what was loaded for a request has run it before it goes, unless it died,
 *  7. one that runs out of memory is taken to need more, and what it had is run
 *     again only if that may be.
 *
 * A neighbour takes memory and gives it back, so do replicas that are no
 * model's; loads die, and are in back-off then; some requests last longer than
 * any dwell, some wait for a short time only; one model stays always, one can
 * never be. And each that has requests is served, however short these wait. */
#ifndef TESTS_SWAP_SIMULATION_H
#define TESTS_SWAP_SIMULATION_H

#include <string.h>

#include "core/mem.h"
#include "policy/swap.h"

enum {
	SIM_MODELS = 13,
	SIM_LARGE = 10, /* needs the memory of three */
	SIM_KEPT = 11,	/* stays, whoever waits */
	SIM_WHALE = 12, /* needs more than there is */
	SIM_SLOTS = 4,	/* requests that a model runs at once */
	SIM_QUEUE = 2048,
	SIM_GHOSTS = 64,
	SIM_MIB_EACH = 300,
	SIM_MIB_TOTAL = 5 * SIM_MIB_EACH + 100,
};

static const uint64_t SIM_MS = 1000000;
static const struct swap_rule sim_rule = {.dwell = 500 * 1000000ull,
					  .loads = 1,
					  .lull = 100 * 1000000ull,
					  .look = 20 * 1000000ull};

struct sim_request {
	uint64_t came, ends;
	unsigned runs;
	bool may_repeat, lease;
};

struct sim_model {
	struct swap_model m;
	uint64_t true_need, load_ns;
	uint64_t ready_at, gone_at; /* LOADING, LEAVING */
	uint64_t dies_at;	    /* LOADING: 0: it does not */
	uint64_t taken;		    /* bytes */
	uint64_t again_at;	    /* its back-off is over */
	uint64_t timeout;	    /* of its requests; 0: none */
	uint64_t lacks_since; /* OUT, with requests; 0: it has lacked nothing */
	uint64_t unserved;    /* it has requests, and has begun none since */
	unsigned failures;
	struct sim_request queue[SIM_QUEUE];
	unsigned queued;
	struct sim_request running[SIM_SLOTS];
	unsigned n_running;
	struct swap_rate rate;
};

/* What an ended process had, and is not free yet. */
struct sim_ghost {
	uint64_t bytes, until;
};

struct simulation {
	uint64_t now, total, neighbour, longest, unserved;
	uint64_t leaving, leaves_at; /* of replicas that are no model's */
	uint32_t random;
	struct sim_model models[SIM_MODELS];
	struct swap_model view[SIM_MODELS];
	struct sim_ghost ghosts[SIM_GHOSTS];
	unsigned answered, evictions, yields, died, raised, refused, failed;
	unsigned late, spared, backoffs;
};

static uint32_t sim_random(struct simulation *s, uint32_t below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 17;
	s->random ^= s->random << 5;
	return s->random % below;
}

/* How long one may wait at most: for each of the others that it gets memory,
 * is in for its dwell, and is gone. */
static uint64_t simulation_bound(void)
{
	const uint64_t load = 1000, dwell = 1000, request = 3250, end = 100;

	return SIM_MODELS * (load + dwell + request + end) * SIM_MS;
}

static struct simulation *simulation_new(uint32_t seed)
{
	struct simulation *s = mem_alloc(sizeof *s);

	s->random = seed * 2654435761u | 1;
	s->now = 1000 * SIM_MS;
	s->total = (uint64_t)SIM_MIB_TOTAL << 20;
	for (unsigned i = 0; i < SIM_MODELS; i++) {
		struct sim_model *m = &s->models[i];

		m->true_need = ((uint64_t)SIM_MIB_EACH - 10 * (i % 4)) << 20;
		m->load_ns = (200 + sim_random(s, 800)) * SIM_MS;
		/* Of some less is known than they take. */
		m->m.need = i % 3 ? m->true_need : m->true_need / 2;
		m->m.patience = 100 * SIM_MS;
		m->m.reload = (double)m->load_ns / 1e9;
		m->timeout = i % 4 == 1 ? 800 * SIM_MS : 0;
	}
	s->models[SIM_LARGE].true_need *= 3;
	s->models[SIM_LARGE].m.need *= 3;
	s->models[SIM_KEPT].m.kept = true;
	s->models[SIM_WHALE].m.need = 2 * s->total;
	return s;
}

static uint64_t sim_free(const struct simulation *s)
{
	uint64_t used = s->neighbour + s->leaving;

	for (unsigned i = 0; i < SIM_MODELS; i++)
		used += s->models[i].taken;
	for (unsigned i = 0; i < SIM_GHOSTS; i++)
		used += s->ghosts[i].until > s->now ? s->ghosts[i].bytes : 0;
	assert_true(used <= s->total);
	return s->total - used;
}

/* ---- requests ---- */

static void sim_put(struct sim_model *m, const struct sim_request *r,
		    bool front)
{
	assert_true(m->queued < SIM_QUEUE);
	if (front)
		memmove(m->queue + 1, m->queue, m->queued * sizeof *m->queue);
	m->queue[front ? 0 : m->queued] = *r;
	m->queued++;
}

static void sim_arrive(struct simulation *s)
{
	struct sim_request r = {.came = s->now};
	double sum = 0, at = sim_random(s, 1000000) / 1e6;
	unsigned i = 0;

	if (sim_random(s, 10))
		return;
	/* Zipf: the k-th of them has a k-th of the first one's. */
	for (unsigned k = 1; k <= SIM_MODELS; k++)
		sum += 1.0 / k;
	for (at *= sum; i < SIM_MODELS - 1 && (at -= 1.0 / (i + 1)) > 0; i++)
		;
	r.may_repeat = sim_random(s, 2);
	sim_put(&s->models[i], &r, false);
	swap_arrived(&s->models[i].rate, s->now);
}

static void sim_begin(struct simulation *s, struct sim_model *m, unsigned k)
{
	struct sim_request *r = &m->running[m->n_running++];

	*r = m->queue[k];
	m->queued--;
	memmove(m->queue + k, m->queue + k + 1,
		(m->queued - k) * sizeof *m->queue);
	r->runs++;
	assert_true(r->runs == 1 || r->may_repeat);
	r->lease = true;
	r->ends = s->now + (50 + sim_random(s, 200)) * SIM_MS;
	if (!sim_random(s, 100))
		r->ends += (1000 + sim_random(s, 2000)) * SIM_MS;
	m->unserved = s->now;
	s->longest = MAX(s->longest, s->now - r->came);
}

/* One that yields runs what it was loaded for, and nothing else. */
static void sim_send(struct simulation *s, struct sim_model *m)
{
	for (unsigned k = 0; k < m->queued && m->n_running < SIM_SLOTS;)
		if (m->m.yielding && !m->queue[k].lease)
			k++;
		else
			sim_begin(s, m, k);
}

static void sim_finish(struct simulation *s, struct sim_model *m)
{
	for (unsigned k = 0; k < m->n_running;) {
		if (m->running[k].ends > s->now) {
			k++;
			continue;
		}
		m->running[k] = m->running[--m->n_running];
		s->answered++;
		m->m.idle_since = s->now;
	}
}

/* Those that have waited for as long as they would. */
static void sim_give_up(struct simulation *s, struct sim_model *m)
{
	unsigned left = 0;

	for (unsigned k = 0; k < m->queued; k++)
		if (!m->timeout || s->now - m->queue[k].came < m->timeout)
			m->queue[left++] = m->queue[k];
	s->late += m->queued - left;
	m->queued = left;
}

/* How long it has had requests, and none has begun. */
static void sim_count(struct simulation *s, struct sim_model *m)
{
	if (!m->queued)
		m->unserved = s->now;
	s->unserved = MAX(s->unserved, s->now - m->unserved);
	if (m->m.state == SWAP_IN || !m->queued || s->now < m->again_at)
		m->lacks_since = 0;
	else if (!m->lacks_since)
		m->lacks_since = s->now;
}

/* ---- lives ---- */

static void sim_ends(struct simulation *s, struct sim_model *m)
{
	struct sim_ghost *g = s->ghosts;

	while (g->until > s->now)
		g++;
	assert_true(g < s->ghosts + SIM_GHOSTS);
	*g = (struct sim_ghost){m->taken,
				s->now + (1 + sim_random(s, 40)) * SIM_MS};
	m->taken = 0;
	m->m.state = SWAP_OUT;
	m->m.yielding = false;
	m->m.spared_since = 0;
}

static void sim_dies(struct simulation *s, struct sim_model *m, bool oom)
{
	uint64_t known = m->m.need, most;

	s->died++;
	if (oom) {
		/* It has a limit of its own: for what is taken to need all
		 * that there is, others need not stand still while a
		 * neighbour has some of it. */
		most = m == &s->models[SIM_LARGE]
			       ? m->true_need
			       : s->total - s->models[SIM_KEPT].true_need;
		m->m.need = swap_raised(known, m->taken, 0, most);
		assert_true(m->m.need > known || known == most);
		s->raised++;
	}
	for (unsigned k = m->n_running; k-- > 0;) {
		if (m->running[k].may_repeat)
			sim_put(m, &m->running[k], true);
		else
			s->failed++;
	}
	m->n_running = 0;
	m->again_at = s->now + (200 * SIM_MS << MIN(m->failures, 4u));
	m->failures++;
	s->backoffs++;
	sim_ends(s, m);
}

static void sim_ready(struct simulation *s, struct sim_model *m)
{
	m->m.state = SWAP_IN;
	m->failures = 0;
	/* A look tells what it takes: what was feared fades. */
	if (m->m.need > m->taken)
		m->m.need -= (m->m.need - m->taken) / 2;
	m->m.in_since = m->m.idle_since = s->now;
	for (unsigned k = 0; k < m->queued; k++)
		m->queue[k].lease = true;
}

static void sim_load(struct simulation *s, struct sim_model *m)
{
	uint64_t left = m->ready_at > s->now ? m->ready_at - s->now : 0;
	uint64_t done = m->load_ns - MIN(left, m->load_ns);
	uint64_t wants = (uint64_t)((double)m->true_need * (double)done /
				    (double)m->load_ns);

	if (m->dies_at && s->now >= m->dies_at) {
		sim_dies(s, m, false);
		return;
	}
	/* More than it was known to need: the limit that it was given ends it.
	 * So does a neighbour that has taken what was free. */
	if (wants > m->m.need || wants - m->taken > sim_free(s)) {
		sim_dies(s, m, true);
		return;
	}
	m->taken = wants;
	if (!left)
		sim_ready(s, m);
}

static void sim_live(struct simulation *s, struct sim_model *m)
{
	switch (m->m.state) {
	case SWAP_LOADING:
		sim_load(s, m);
		break;
	case SWAP_IN:
		sim_finish(s, m);
		if (m->n_running && !sim_random(s, 20000))
			sim_dies(s, m, sim_random(s, 2));
		else
			sim_send(s, m);
		break;
	case SWAP_LEAVING:
		if (s->now >= m->gone_at)
			sim_ends(s, m);
		break;
	case SWAP_OUT:
		break;
	}
}

static void sim_neighbour(struct simulation *s)
{
	uint64_t quarter = (uint64_t)(SIM_MIB_EACH / 4) << 20, wants;

	if (s->now >= s->leaves_at)
		s->leaving = 0;
	if (!s->leaving && !sim_random(s, 1000)) {
		s->leaving = MIN(quarter, sim_free(s));
		s->leaves_at = s->now + 300 * SIM_MS;
	}
	if (sim_random(s, 2000))
		return;
	wants = quarter * (1 + sim_random(s, 4));
	s->neighbour = s->neighbour ? 0 : MIN(wants, sim_free(s));
}

/* ---- what policy is told, and what it says ---- */

static struct swap_view sim_view(struct simulation *s)
{
	for (unsigned i = 0; i < SIM_MODELS; i++) {
		struct sim_model *m = &s->models[i];

		m->m.holds = m->taken;
		m->m.in_flight = m->n_running;
		m->m.waiting = s->now < m->again_at ? 0 : m->queued;
		m->m.keeps =
			m->m.kept && m->m.state != SWAP_OUT ? m->m.need : 0;
		m->m.leases = m->n_running;
		for (unsigned k = 0; k < m->queued; k++)
			m->m.leases += m->queue[k].lease;
		m->m.oldest = m->queued ? s->now - m->queue[0].came : 0;
		if (m->lacks_since)
			m->m.oldest = MAX(m->m.oldest, s->now - m->lacks_since);
		m->m.per_s = swap_per_s(&m->rate, s->now);
		s->view[i] = m->m;
	}
	return (struct swap_view){.now = s->now,
				  .total = s->total,
				  .free = sim_free(s),
				  .leaving = s->leaving,
				  .models = s->view,
				  .n = SIM_MODELS};
}

static void sim_no_more_yields(struct simulation *s)
{
	for (unsigned i = 0; i < SIM_MODELS; i++)
		s->models[i].m.yielding = false;
}

static void sim_start(struct simulation *s, struct sim_model *m)
{
	uint64_t promised = 0;

	for (unsigned i = 0; i < SIM_MODELS; i++) {
		const struct sim_model *o = &s->models[i];

		if (o->m.state == SWAP_LOADING && o->m.need > o->taken)
			promised += o->m.need - o->taken;
	}
	assert_true(m->m.need + promised <= sim_free(s)); /* 4 */
	assert_int_equal(m->m.state, SWAP_OUT);		  /* 5 */
	assert_true(m->queued > 0 && s->now >= m->again_at);
	m->m.state = SWAP_LOADING;
	m->ready_at = s->now + m->load_ns;
	m->dies_at = sim_random(s, 20)
			     ? 0
			     : s->now + m->load_ns * sim_random(s, 100) / 100;
	sim_no_more_yields(s);
}

static void sim_evict(struct simulation *s, struct sim_model *m)
{
	assert_int_equal(m->m.state, SWAP_IN); /* 1 */
	assert_int_equal(m->n_running, 0);     /* 3 */
	assert_false(m->m.kept);
	for (unsigned k = 0; k < m->queued; k++) /* 2, 6 */
		assert_true(!m->queue[k].lease &&
			    m->queue[k].came > m->m.in_since);
	/* Nobody is idle between two requests. */
	assert_true(m->m.yielding || s->now >= m->m.idle_since + sim_rule.lull);
	m->m.state = SWAP_LEAVING;
	m->gone_at = s->now + sim_random(s, 50) * SIM_MS;
	s->evictions++;
}

static void sim_yield(struct simulation *s, struct sim_model *m,
		      const struct sim_model *claimant)
{
	assert_int_equal(m->m.state, SWAP_IN);
	assert_false(m->m.yielding);
	assert_true(claimant->m.oldest >= claimant->m.patience);
	assert_true(s->now - MAX(m->m.in_since, m->m.spared_since) >=
		    swap_dwell(&m->m, &sim_rule));
	m->m.yielding = true;
	m->m.yield_since = s->now;
	s->yields++;
}

static void sim_swap(struct simulation *s)
{
	for (unsigned n = 0;; n++) {
		struct swap_view v = sim_view(s);
		struct swap_step step = swap_next(&v, &sim_rule);
		struct sim_model *m = &s->models[step.model];

		assert_true(n < 100);
		switch (step.act) {
		case SWAP_START:
			sim_start(s, m);
			break;
		case SWAP_EVICT:
			sim_evict(s, m);
			break;
		case SWAP_YIELD:
			sim_yield(s, m, &s->models[step.claimant]);
			break;
		case SWAP_UNYIELD:
			assert_true(m->m.yielding && m->n_running);
			m->m.yielding = false;
			m->m.spared_since = s->now;
			s->spared++;
			break;
		case SWAP_WAIT:
			assert_true(step.until > s->now);
			return;
		case SWAP_REFUSE:
			assert_true(m == &s->models[SIM_WHALE]);
			s->refused++;
			m->queued = 0;
			break;
		case SWAP_NONE:
			sim_no_more_yields(s);
			return;
		}
	}
}

static void simulation_run(struct simulation *s, unsigned steps)
{
	for (unsigned n = 0; n < steps; n++) {
		s->now += 5 * SIM_MS;
		sim_arrive(s);
		sim_neighbour(s);
		for (unsigned i = 0; i < SIM_MODELS; i++)
			sim_live(s, &s->models[i]);
		for (unsigned i = 0; i < SIM_MODELS; i++) {
			sim_give_up(s, &s->models[i]);
			sim_count(s, &s->models[i]);
		}
		sim_swap(s);
	}
	/* Those who wait still have waited no longer than others. */
	for (unsigned i = 0; i < SIM_MODELS; i++)
		if (s->models[i].queued)
			s->longest = MAX(s->longest,
					 s->now - s->models[i].queue[0].came);
}

#endif
