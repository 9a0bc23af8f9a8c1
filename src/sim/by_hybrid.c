/* by_hybrid.c: the hybrid histogram policy of "Serverless in the Wild" (Shahrad
 * et al., ATC 2020), without its time-series model: the time that an api is
 * idle is counted in minutes, up to four hours. Once that is representative
 * (the bins' coefficient of variation is 2 or more) the api is unloaded at
 * once, loaded again before the 5th percentile, less a tenth, and kept until
 * the 99th, and a tenth; if the 5th is in the first minute it is not unloaded
 * before. Else it is kept for the whole range. More replicas at once, which the
 * paper leaves open, are kept as long and not loaded ahead. */
#include <math.h>
#include <stdbool.h>

#include "core/mem.h"
#include "sim/levels.h"

enum { RANGE_MIN = 240 };

#define MINUTE 60000000000ull

struct hybrid {
	struct levels *levels;
	double tail;
	uint32_t bins[RANGE_MIN];
	uint64_t seen, beyond;
	double squares; /* sum of the bins' */
	uint64_t idle_since;
	bool idle;
	bool known; /* the windows below are learned ones */
	uint64_t load_at, keep_until;
};

static void *hybrid_open(const struct sim_case *c, struct sim_setting set)
{
	struct hybrid *m = mem_alloc(sizeof *m);

	m->levels = levels_open(c, RANGE_MIN * MINUTE);
	m->tail = set.knob;
	return m;
}

static void hybrid_close(void *state)
{
	struct hybrid *m = state;

	levels_close(m->levels);
	free(m);
}

static void learn(struct hybrid *m, uint64_t idle)
{
	uint64_t bin = idle / MINUTE;

	m->seen++;
	if (bin >= RANGE_MIN) {
		m->beyond++;
		return;
	}
	m->squares += 2.0 * m->bins[bin] + 1;
	m->bins[bin]++;
}

/* The bin in which that share of those counted has been seen. */
static uint32_t percentile(const struct hybrid *m, double percent)
{
	double inside = (double)(m->seen - m->beyond), sum = 0;
	uint32_t i;

	for (i = 0; i < RANGE_MIN - 1; i++) {
		sum += m->bins[i];
		if (sum >= inside * percent / 100 && sum > 0)
			break;
	}
	return i;
}

static void choose(struct hybrid *m, uint64_t now)
{
	double inside = (double)(m->seen - m->beyond);
	double mean = inside / RANGE_MIN;
	double variance = m->squares / RANGE_MIN - mean * mean;
	uint64_t head, tail;

	m->idle = true;
	m->idle_since = now;
	m->known = inside > 0 && m->beyond * 2 <= m->seen &&
		   sqrt(MAX(variance, 0)) >= 2 * mean;
	if (!m->known) {
		m->load_at = now;
		m->keep_until = now + RANGE_MIN * MINUTE;
		return;
	}
	head = percentile(m, 5) * MINUTE;
	tail = (percentile(m, m->tail) + 1) * MINUTE;
	m->load_at = now + head - head / 10;
	m->keep_until = now + tail + tail / 10;
	m->levels->keep = m->keep_until - now;
}

static struct sim_want hybrid_want(void *state, const struct sim_state *s)
{
	struct hybrid *m = state;
	struct sim_want w;

	if (s->in_flight) {
		if (m->idle)
			learn(m, s->now - m->idle_since);
		m->idle = false;
		return levels_want(m->levels, s);
	}
	if (!m->idle)
		choose(m, s->now);
	w = levels_want(m->levels, s);
	if (s->now < m->load_at) {
		m->levels->n = 0;
		return (struct sim_want){0, m->load_at};
	}
	if (s->now >= m->keep_until)
		return (struct sim_want){0};
	w.want = MAX(w.want, 1u);
	w.again = w.again ? MIN(w.again, m->keep_until) : m->keep_until;
	return w;
}

static const struct sim_setting settings[] = {
	{50, 0}, {75, 0}, {90, 0}, {95, 0}, {99, 0}, {100, 0}, {0, 0}};

const struct sim_policy sim_hybrid = {
	.name = "hybrid",
	.knob = "percentile of idle times that ends the keeping",
	.usual = 99,
	.settings = settings,
	.open = hybrid_open,
	.close = hybrid_close,
	.want = hybrid_want,
};
