/* by_keepalive.c: as AWS Lambda does: each request that finds none free gets a
 * replica of its own, and one that has had nothing for so long ends. */
#include <string.h>

#include "core/mem.h"
#include "sim/levels.h"

static void *keepalive_open(const struct sim_case *c, double knob)
{
	return levels_open(c, (uint64_t)(knob * 1e9));
}

static struct sim_want keepalive_want(void *state, const struct sim_state *s)
{
	return levels_want(state, s);
}

static const double settings[] = {0.001, 1,    5,    15,    30,
				  60,	 120,  300,  600,   1200,
				  1800,	 3600, 7200, 14400, 0};

const struct sim_policy sim_keepalive = {
	.name = "keep-alive",
	.knob = "seconds that an idle replica is kept",
	.usual = 600,
	.settings = settings,
	.open = keepalive_open,
	.close = levels_close,
	.want = keepalive_want,
};
