#include "sim/all.h"

#include <stdbool.h>

#include "core/mem.h"
#include "sim/each.h"

struct work {
	const struct sim_loads *loads;
	enum sim_half half;
	const struct sim_case *c;
	const struct sim_policy *policy;
	struct sim_setting set;
	struct sim_result *results; /* one for each api */
};

static bool is_in(const struct sim_load *l, enum sim_half half)
{
	uint32_t hash = 2166136261u;

	for (const char *p = l->name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	return half == SIM_ALL || (hash & 1) == (half == SIM_REPORT);
}

size_t sim_count(const struct sim_loads *loads, enum sim_half half)
{
	size_t n = 0;

	for (size_t i = 0; i < loads->n; i++)
		n += is_in(&loads->all[i], half);
	return n;
}

static void run(void *data, size_t i)
{
	struct work *w = data;
	const struct sim_load *l = &w->loads->all[i];

	if (!is_in(l, w->half))
		return;
	if (w->policy)
		sim_run(l, w->c, w->policy, w->set, &w->results[i]);
	else
		sim_oracle(l, w->c, &w->results[i]);
}

struct sim_result sim_all(const struct sim_loads *loads, enum sim_half half,
			  const struct sim_case *c,
			  const struct sim_policy *policy,
			  struct sim_setting set)
{
	struct work w = {
		.loads = loads,
		.half = half,
		.c = c,
		.policy = policy,
		.set = set,
		.results = mem_alloc((loads->n + 1) * sizeof *w.results),
	};
	struct sim_result sum = {0};

	sim__each(loads->n, run, &w);
	for (size_t i = 0; i < loads->n; i++) {
		const struct sim_result *r = &w.results[i];

		sum.requests += r->requests;
		sum.misses += r->misses;
		sum.starts += r->starts;
		sum.replica_s += r->replica_s;
		sum.busy_s += r->busy_s;
		sum.idle_mb_s += r->idle_mb_s;
		sum.most += r->most;
	}
	free(w.results);
	return sum;
}
