#include <stdbool.h>

#include "core/mem.h"
#include "sim/run.h"

static int by_time(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The k-th replica works while k requests or more are being served. */
void sim_oracle(const struct sim_load *load, const struct sim_case *c,
		struct sim_result *sum)
{
	uint64_t *ends = mem_alloc((load->n + 1) * sizeof *ends);
	uint64_t *idle_since = NULL, last = 0;
	uint32_t busy = 0, most = 0;
	size_t came = 0, gone = 0, in = 0;

	for (size_t i = 0; i < load->n; i++)
		ends[i] = load->at[i] + load->takes[i];
	qsort(ends, load->n, sizeof *ends, by_time);
	while (gone < load->n) {
		bool arrival = came < load->n && load->at[came] < ends[gone];
		uint64_t now = arrival ? load->at[came] : ends[gone];
		double dt = (double)(now - last) / 1e9;
		uint32_t need;

		sum->busy_s += busy * dt;
		sum->replica_s += busy * dt;
		last = now;
		if (arrival) {
			came++;
			in++;
		} else {
			gone++;
			in--;
		}
		need = (uint32_t)((in + c->slots - 1) / c->slots);
		while (busy < need) {
			if (busy == most) {
				idle_since =
					mem_grow(idle_since,
						 ++most * sizeof *idle_since);
				sum->replica_s += (double)c->load / 1e9;
				sum->starts++;
			} else {
				uint64_t gap = now - idle_since[busy];
				uint64_t costs = MIN(gap, c->load);

				sum->starts += gap >= c->load;
				sum->replica_s += (double)costs / 1e9;
				sum->idle_mb_s +=
					(double)costs / 1e9 * load->mem_mb;
			}
			busy++;
		}
		while (busy > need)
			idle_since[--busy] = now;
	}
	sum->requests += load->n;
	sum->most = MAX(sum->most, most);
	free(ends);
	free(idle_since);
}
