/* by_kpa.c: Knative's pod autoscaler: a tick every 2 s; averages over a stable
 * window and a tenth of it, the panic window; from none at once, by its
 * activator, and back to none after the stable window and a time of grace. All
 * settings are the documented defaults but the windows', which move it, and the
 * target of a replica, which is its slots. */
#include <math.h>
#include <stdbool.h>

#include "core/mem.h"
#include "sim/averages.h"
#include "sim/run.h"

enum { TICK_S = 2, GRACE_S = 30, PANIC_LEAST_S = 2 };

static const double UTILISATION = 0.7, PANIC_THRESHOLD = 2, UP = 1000, DOWN = 2;

struct kpa {
	struct averages averages;
	uint64_t stable;	    /* ns */
	uint64_t grace;		    /* ns */
	uint32_t n_stable, n_panic; /* ticks */
	double target;
	bool panics;
	uint64_t panic_at;
	uint32_t panic_most;
	uint64_t zero_since; /* desired has been 0 since; 0: it is not */
	uint32_t want;
};

static void *kpa_open(const struct sim_case *c, struct sim_setting set)
{
	struct kpa *m = mem_alloc(sizeof *m);

	m->stable = (uint64_t)(set.knob * 1e9);
	m->grace = MIN(m->stable, GRACE_S * 1000000000ull);
	m->n_stable = MAX((uint32_t)(set.knob / TICK_S), 1u);
	m->n_panic = MAX(m->n_stable / 10, (uint32_t)(PANIC_LEAST_S / TICK_S));
	m->averages.tick = TICK_S * 1000000000ull;
	m->averages.keep = m->n_stable;
	m->target = MAX(0.01, c->slots * UTILISATION);
	return m;
}

static uint32_t clamp(double want, uint32_t ready)
{
	double up = ceil(UP * ready), down = floor(ready / DOWN);

	return (uint32_t)MIN(MAX(ceil(want), down), up);
}

static uint32_t desired(struct kpa *m, const struct sim_state *s)
{
	uint32_t ready = MAX(s->ready, 1u);
	double stable = averages_over(&m->averages, m->n_stable) / m->target;
	double panic = averages_over(&m->averages, m->n_panic) / m->target;
	uint32_t want_s = clamp(stable, ready), want_p = clamp(panic, ready);

	if (ceil(panic) / ready >= PANIC_THRESHOLD) {
		m->panics = true;
		m->panic_at = s->now;
	} else if (m->panics && m->panic_at + m->stable < s->now) {
		m->panics = false;
		m->panic_most = 0;
	}
	if (!m->panics)
		return want_s;
	m->panic_most = MAX(m->panic_most, MAX(want_s, want_p));
	return m->panic_most;
}

static struct sim_want kpa_want(void *state, const struct sim_state *s)
{
	struct kpa *m = state;

	if (averages_tick(&m->averages, s)) {
		uint32_t want = desired(m, s);

		if (want || s->in_flight) {
			m->zero_since = 0;
			m->want = MAX(want, 1u);
		} else if (!m->zero_since) {
			m->zero_since = s->now;
		} else if (s->now - m->zero_since >= m->grace) {
			m->want = 0;
		}
	}
	/* The activator has somebody for a revision that has none. */
	if (s->in_flight && !m->want)
		m->want = 1;
	if (!m->want && !s->in_flight && !m->panics)
		return (struct sim_want){0};
	return (struct sim_want){m->want, averages_next(&m->averages, s->now)};
}

static const struct sim_setting settings[] = {
	{6, 0},	  {10, 0},  {20, 0},   {30, 0},	  {60, 0}, {120, 0},
	{300, 0}, {600, 0}, {1200, 0}, {1800, 0}, {0, 0}};

const struct sim_policy sim_kpa = {
	.name = "kpa",
	.knob = "seconds of the stable window",
	.usual = 60,
	.settings = settings,
	.open = kpa_open,
	.close = free,
	.want = kpa_want,
};
