/* by_cortex.c: Cortex's autoscaler, from none (0.42, by its activator), at its
 * default settings; the window is the setting that moves it. */
#include "core/mem.h"
#include "policy/autoscale_cortex.h"
#include "sim/averages.h"
#include "sim/run.h"

struct cortex {
	struct cortex_scale scale;
	struct cortex_rule rule;
	struct averages averages;
	uint32_t window; /* ticks */
	uint32_t want;
};

static void *cortex_open(const struct sim_case *c, struct sim_setting set)
{
	struct cortex *m = mem_alloc(sizeof *m);
	uint64_t down = (uint64_t)(set.knob * 1e9);

	m->rule = (struct cortex_rule){
		.max = c->max,
		.target = c->slots,
		.max_downscale_factor = 0.75,
		.max_upscale_factor = 1.5,
		.downscale_tolerance = 0.05,
		.upscale_tolerance = 0.05,
		.downscale_period = down,
		.upscale_period = MIN(down, 60000000000u),
	};
	m->window = MAX((uint32_t)(MIN(set.knob, 60) / CORTEX_TICK_S), 1u);
	m->averages.tick = CORTEX_TICK_S * 1000000000ull;
	m->averages.keep = m->window;
	return m;
}

static void cortex_close(void *state)
{
	struct cortex *m = state;

	cortex_scale_fini(&m->scale);
	free(m);
}

static struct sim_want cortex_want(void *state, const struct sim_state *s)
{
	struct cortex *m = state;
	double average = 0;

	if (s->in_flight && !m->want) {
		cortex_awaken(&m->scale, s->now);
		m->want = 1;
	}
	if (averages_tick(&m->averages, s)) {
		average = averages_over(&m->averages, m->window);
		m->want = cortex_scale(&m->scale, &m->rule, s->now, m->want,
				       average);
		/* Nobody is left alone: the activator asks again. */
		if (!m->want && s->in_flight)
			m->want = 1;
	}
	if (!m->want && !s->in_flight && average <= 0)
		return (struct sim_want){0};
	return (struct sim_want){m->want, averages_next(&m->averages, s->now)};
}

static const struct sim_setting settings[] = {{10, 0},	 {30, 0},   {60, 0},
					      {120, 0},	 {300, 0},  {600, 0},
					      {1800, 0}, {3600, 0}, {0, 0}};

const struct sim_policy sim_cortex = {
	.name = "cortex",
	.knob = "seconds of downscale_stabilization_period (window and "
		"upscale_stabilization_period are as long, 60 at most)",
	.usual = 300,
	.settings = settings,
	.open = cortex_open,
	.close = cortex_close,
	.want = cortex_want,
};
