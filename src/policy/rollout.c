#include "policy/rollout.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

uint32_t rollout_share(const char *text, uint32_t n, bool up)
{
	uint32_t v;

	if (strcmp(text, "auto") == 0)
		return ROLLOUT_AUTO;
	v = (uint32_t)strtoul(text, NULL, 10);
	if (text[strlen(text) - 1] != '%')
		return v;
	return (uint32_t)(((uint64_t)v * n + (up ? 99 : 0)) / 100);
}

/* A + b, where either may stand for no bound. */
static uint32_t sum(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static uint32_t less(uint32_t a, uint32_t b)
{
	return a - MIN(a, b);
}

/* More new ones that there is memory for by now, or soon. */
static uint32_t room_of(const struct rollout_view *v)
{
	return MAX(v->room, v->soon);
}

/* All old and all new ones have room together: the old ones stay, and grow as
 * they would, until the new ones are ready. */
static bool is_at_once(const struct rollout_view *v,
		       const struct rollout_rule *rule, uint32_t n,
		       uint32_t surge)
{
	return rule->unavailable == ROLLOUT_AUTO && surge >= n &&
	       sum(v->new_places, room_of(v)) >=
		       sum(n, less(v->kept, v->old_places));
}

/* Old ones that are to stay, by the rule's numbers alone. */
static uint32_t stay(const struct rollout_view *v, uint32_t surge,
		     uint32_t down)
{
	uint32_t keep = less(v->kept, v->new_ready);

	/* Where a new one can start beside them it shows first that it can. */
	if (!surge || v->new_ready)
		keep = less(keep, down);
	return MIN(keep, v->old_places);
}

/* Whether nothing moves any more, for want of memory. */
static bool is_stuck(const struct rollout_view *v, uint32_t n)
{
	return v->new_places < n && v->new_ready == v->new_places &&
	       !room_of(v);
}

struct rollout_step rollout_next(const struct rollout_view *v,
				 const struct rollout_rule *rule)
{
	bool free = rule->unavailable == ROLLOUT_AUTO;
	uint32_t n = MAX(v->asked, 1u), down = free ? 0 : rule->unavailable;
	uint32_t surge = rule->surge == ROLLOUT_AUTO ? n : rule->surge;
	struct rollout_step step = {.old_places = MAX(v->kept, v->old_places)};
	uint32_t most, keep;

	/* By rounding: nothing could ever be replaced. */
	if (!surge && !down)
		down = 1;
	most = sum(MAX(n, v->kept), surge);
	step.new_places = MIN(MAX(less(most, v->old_places), v->new_places), n);
	step.hopeless = !v->new_places && !v->instead;
	if (step.hopeless || v->new_ready >= n)
		return step;
	if (is_at_once(v, rule, n, surge)) {
		step.new_places = n;
		return step;
	}
	keep = stay(v, surge, down);
	if (is_stuck(v, n) && keep == v->old_places && keep &&
	    (free || sum(keep - 1 + v->new_ready, down) >= v->kept))
		keep--;
	step.old_places = keep;
	step.shares = v->new_ready > 0;
	step.hold = v->old_places && !keep && !v->new_ready;
	return step;
}
