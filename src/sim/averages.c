#include "sim/averages.h"

#include "core/mem.h"

bool averages_tick(struct averages *a, const struct sim_state *s)
{
	uint64_t n = s->now / a->tick, from;

	if (a->begun && n == a->last)
		return false;
	/* The first call is an arrival: before it nothing was. */
	from = a->begun ? a->last + 1 : n;
	if (n - from > a->keep)
		from = n - a->keep;
	for (; from <= n; from++)
		a->areas[from % AVERAGES_MAX] = s->area;
	if (!a->begun)
		for (uint32_t i = 1; i <= MIN(a->keep, n); i++)
			a->areas[(n - i) % AVERAGES_MAX] = s->area;
	a->begun = true;
	a->last = n;
	return true;
}

double averages_over(const struct averages *a, uint32_t n)
{
	double now = a->areas[a->last % AVERAGES_MAX];

	if (a->last < n)
		n = (uint32_t)a->last;
	if (!n)
		return 0;
	return (now - a->areas[(a->last - n) % AVERAGES_MAX]) /
	       (n * ((double)a->tick / 1e9));
}

uint64_t averages_next(const struct averages *a, uint64_t now)
{
	return (now / a->tick + 1) * a->tick;
}
