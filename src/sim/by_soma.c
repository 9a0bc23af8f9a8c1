/* by_soma.c: the daemon's own autoscaler. */
#include "core/mem.h"
#include "policy/autoscale.h"
#include "sim/run.h"

struct soma {
	struct autoscale scale;
	struct scale_rule rule;
	uint32_t slots;
};

static void *soma_open(const struct sim_case *c, double knob)
{
	struct soma *m = mem_alloc(sizeof *m);

	m->rule = (struct scale_rule){.min = c->min,
				      .max = c->max,
				      .patience = c->patience,
				      .worth = knob};
	m->slots = c->slots;
	return m;
}

static void soma_close(void *state)
{
	struct soma *m = state;

	autoscale_fini(&m->scale);
	free(m);
}

static void soma_arrived(void *state, uint64_t now)
{
	struct soma *m = state;

	autoscale_arrived(&m->scale, now);
}

static struct sim_want soma_want(void *state, const struct sim_state *s)
{
	struct soma *m = state;
	struct scale_view v = {
		.now = s->now,
		.in_flight = s->in_flight,
		.waiting = s->waiting,
		.oldest = s->oldest,
		.ready = s->ready,
		.loading = s->loading,
		.slots = m->slots,
		.service = s->service,
		.load = s->loads,
	};
	struct scale_advice a = autoscale(&m->scale, &v, &m->rule);

	return (struct sim_want){a.want, a.again};
}

static const double settings[] = {
	0.01, 0.1, 0.3,	  0.5, 1,     1.5, 2,	3,   5,	  7,   10,  15,
	20,   30,  50,	  70,  100,   110, 120, 135, 150, 200, 300, 500,
	700,  1e3, 2e3,	  3e3, 4e3,   5e3, 7e3, 1e4, 2e4, 3e4, 4e4, 5e4,
	7e4,  1e5, 1.5e5, 2e5, 2.5e5, 3e5, 5e5, 7e5, 1e6, 1e7, 0};

const struct sim_policy sim_soma = {
	.name = "soma",
	.knob = "replica-seconds for a second of waiting",
	.usual = 30,
	.settings = settings,
	.open = soma_open,
	.close = soma_close,
	.arrived = soma_arrived,
	.want = soma_want,
};
