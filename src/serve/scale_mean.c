#include "serve/scale_mean.h"

#include "core/mem.h"
#include "policy/autoscale_cortex.h"

void scale_mean_fini(struct scale_mean *m)
{
	free(m->steps);
	*m = (struct scale_mean){0};
}

static void keep(struct scale_mean *m, double step, uint32_t cap)
{
	/* Another window begins anew. */
	if (m->cap != cap) {
		free(m->steps);
		m->steps = mem_alloc(cap * sizeof *m->steps);
		m->cap = cap;
		m->n = m->at = 0;
	}
	m->steps[m->at] = step;
	m->at = (m->at + 1) % cap;
	m->n = MIN(m->n + 1, cap);
}

bool scale_mean_add(struct scale_mean *m, uint32_t in_flight, uint32_t steps,
		    double *ret)
{
	double sum = 0;

	m->sum += in_flight;
	if (++m->samples < CORTEX_TICK_S)
		return false;
	keep(m, (double)m->sum / m->samples, MAX(steps, 1u));
	m->sum = m->samples = 0;
	for (uint32_t i = 0; i < m->n; i++)
		sum += m->steps[i];
	*ret = sum / m->n;
	return true;
}
