#include "policy/chance.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "core/mem.h"

static double log_choose(uint64_t n, uint64_t k)
{
	return lgamma((double)n + 1) - lgamma((double)k + 1) -
	       lgamma((double)(n - k) + 1);
}

static double rate(struct chance_sample s)
{
	return s.requests ? (double)s.errors / (double)s.requests : 0;
}

/* Above the mean each term is less than the one before. */
static bool is_done(double term, double sum)
{
	return term <= sum * 1e-17;
}

double chance_fisher(struct chance_sample its, struct chance_sample others)
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

double chance_binomial(struct chance_sample its, double p)
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
