#include "policy/canary.h"

#include <assert.h>
#include <math.h>

#include "core/mem.h"

enum {
	FIRST_LOOK = 8,
	LOOK_GROWTH = 4, /* the next when there are a quarter more */
};

void canary_add(struct canary *c, bool its, bool failed)
{
	struct canary_side *side = its ? &c->its : &c->others;

	side->requests++;
	side->errors += failed;
}

static double log_choose(uint64_t n, uint64_t k)
{
	return lgamma((double)n + 1) - lgamma((double)k + 1) -
	       lgamma((double)(n - k) + 1);
}

static double rate(struct canary_side s)
{
	return s.requests ? (double)s.errors / (double)s.requests : 0;
}

/* Above the mean each term is less than the one before. */
static bool is_done(double term, double sum)
{
	return term <= sum * 1e-17;
}

double canary_fisher(struct canary_side its, struct canary_side others)
{
	uint64_t errors = its.errors + others.errors;
	uint64_t all = its.requests + others.requests;
	uint64_t most = MIN(errors, its.requests);
	double term, sum = 0;

	assert(its.errors <= its.requests && others.errors <= others.requests);
	if (!its.errors || !others.requests || rate(its) <= rate(others))
		return 1;
	term = exp(log_choose(its.requests, its.errors) +
		   log_choose(others.requests, others.errors) -
		   log_choose(all, errors));
	for (uint64_t k = its.errors; k <= most && !is_done(term, sum); k++) {
		uint64_t left = errors - k;

		sum += term;
		term *= (double)(its.requests - k) / (double)(k + 1) *
			(double)left / (double)(others.requests + 1 - left);
	}
	return fmin(sum, 1);
}

double canary_binomial(struct canary_side its, double p)
{
	uint64_t n = its.requests;
	double term, sum = 0;

	assert(its.errors <= n && p >= 0 && p < 1);
	if (!its.errors || rate(its) <= p)
		return 1;
	if (!(p > 0))
		return 0;
	term = exp(log_choose(n, its.errors) + (double)its.errors * log(p) +
		   (double)(n - its.errors) * log1p(-p));
	for (uint64_t k = its.errors; k <= n && !is_done(term, sum); k++) {
		sum += term;
		term *= (double)(n - k) / (double)(k + 1) * p / (1 - p);
	}
	return fmin(sum, 1);
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
	v->as_others = canary_fisher(c->its, c->others);
	v->as_allowed = canary_binomial(c->its, plan->max_errors);
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
