/* by_soma.c: the daemon's own autoscaler. */
#include "core/mem.h"
#include "policy/autoscale.h"
#include "sim/run.h"

struct soma {
	struct autoscale scale;
	struct scale_rule rule;
	uint32_t slots;
};

static void *soma_open(const struct sim_case *c, struct sim_setting set)
{
	struct soma *m = mem_alloc(sizeof *m);

	m->rule = (struct scale_rule){.min = c->min,
				      .max = c->max,
				      .patience = c->patience,
				      .worth = set.knob,
				      .keep = (uint64_t)(set.keep * 1e9)};
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

/* What is kept for a fixed time, from worths of few starts to those of all. */
/* clang-format off */
#define KEPT(s) {0.01, s}, {3, s}, {30, s}, {150, s}
/* clang-format on */

static const struct sim_setting settings[] = {
	{0.01, 0},  {0.1, 0},	 {0.3, 0},   {0.5, 0},	{1, 0},	     {1.5, 0},
	{2, 0},	    {3, 0},	 {5, 0},     {7, 0},	{10, 0},     {15, 0},
	{20, 0},    {30, 0},	 {50, 0},    {70, 0},	{100, 0},    {110, 0},
	{120, 0},   {135, 0},	 {150, 0},   {200, 0},	{300, 0},    {500, 0},
	{700, 0},   {1e3, 0},	 {2e3, 0},   {3e3, 0},	{4e3, 0},    {5e3, 0},
	{7e3, 0},   {1e4, 0},	 {2e4, 0},   {3e4, 0},	{4e4, 0},    {5e4, 0},
	{7e4, 0},   {1e5, 0},	 {1.5e5, 0}, {2e5, 0},	{2.5e5, 0},  {3e5, 0},
	{5e5, 0},   {7e5, 0},	 {1e6, 0},   {1e7, 0},	KEPT(0.001), KEPT(0.3),
	KEPT(1),    KEPT(5),	 KEPT(15),   KEPT(30),	KEPT(35),    KEPT(45),
	KEPT(60),   KEPT(120),	 KEPT(300),  KEPT(600), KEPT(1200),  KEPT(1800),
	KEPT(3600), KEPT(14400), {0, 0}};

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
