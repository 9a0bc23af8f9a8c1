#include "policy/canary.h"

#include <assert.h>

#include "core/mem.h"

enum {
	FIRST_LOOK = 8,
	LOOK_GROWTH = 4, /* the next when there are a quarter more */
};

void canary_add(struct canary *c, bool its, bool failed)
{
	struct chance_sample *side = its ? &c->its : &c->others;

	side->requests++;
	side->errors += failed;
}

static double bound_of(const struct canary_plan *plan, uint32_t look)
{
	return CANARY_ALPHA / plan->steps / ((double)look * (look + 1.0));
}

/* The others may have no requests, where all that come belong together: then
 * what it may do counts alone. */
static bool is_worse(const struct canary_plan *plan, struct canary *c,
		     struct canary_verdict *v)
{
	uint64_t n = c->its.requests;

	c->looks++;
	c->next_look = n + MAX(n / LOOK_GROWTH, UINT64_C(1));
	v->bound = bound_of(plan, c->looks);
	v->as_others = chance_fisher(c->its, c->others);
	v->as_allowed = chance_binomial(c->its, plan->max_errors);
	return v->as_allowed <= v->bound &&
	       (v->as_others <= v->bound || !c->others.requests);
}

struct canary_verdict canary_decide(const struct canary_plan *plan,
				    struct canary *c, uint64_t in_step_ms)
{
	bool late = in_step_ms >= plan->every_ms;
	bool over = late && c->its.requests >= plan->min_requests;
	struct canary_verdict v = {.few = late && !over};

	assert(plan->steps > c->step);
	if (!over && c->its.requests < MAX(c->next_look, (uint64_t)FIRST_LOOK))
		return v;
	v.few = false;
	if (is_worse(plan, c, &v)) {
		v.move = CANARY_BACK;
	} else if (over && c->step + 1 == plan->steps) {
		v.move = CANARY_END;
	} else if (over) {
		*c = (struct canary){.step = c->step + 1};
		v.move = CANARY_ON;
	} else {
		v.few = late;
	}
	return v;
}
