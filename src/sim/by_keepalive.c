/* by_keepalive.c: as AWS Lambda does: each request that finds none free gets a
 * replica of its own, and one that has had nothing for so long ends. */
#include <string.h>

#include "core/mem.h"
#include "sim/levels.h"

static void *keepalive_open(const struct sim_case *c, struct sim_setting set)
{
	return levels_open(c, (uint64_t)(set.knob * 1e9));
}

static struct sim_want keepalive_want(void *state, const struct sim_state *s)
{
	return levels_want(state, s);
}

static const struct sim_setting settings[] = {
	{0.001, 0}, {1, 0},    {5, 0},	  {15, 0},    {30, 0},
	{60, 0},    {120, 0},  {300, 0},  {600, 0},   {1200, 0},
	{1800, 0},  {3600, 0}, {7200, 0}, {14400, 0}, {0, 0}};

const struct sim_policy sim_keepalive = {
	.name = "keep-alive",
	.knob = "seconds that an idle replica is kept",
	.usual = 600,
	.settings = settings,
	.open = keepalive_open,
	.close = levels_close,
	.want = keepalive_want,
};
