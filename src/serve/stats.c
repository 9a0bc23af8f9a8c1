#include "serve/stats.h"

#include <math.h>

void stats_add(struct stats *s, unsigned status, uint64_t us)
{
	unsigned i = 0;

	if (us > STATS_FIRST_US) {
		double octaves = log2((double)us / STATS_FIRST_US);

		i = (unsigned)ceil(octaves * STATS_PER_OCTAVE - 1e-9);
	}
	if (i >= STATS_BUCKETS)
		i = STATS_BUCKETS - 1;
	s->buckets[i]++;
	s->codes[status / 100 < 6 ? status / 100 : 0]++;
	s->count++;
	s->sum_us += us;
}

double stats_bound_s(unsigned i)
{
	return STATS_FIRST_US * 1e-6 * exp2((double)i / STATS_PER_OCTAVE);
}

double stats_quantile_ms(const struct stats *s, double q)
{
	uint64_t want = (uint64_t)ceil(q * (double)s->count), seen = 0;

	if (!s->count)
		return 0;
	for (unsigned i = 0; i < STATS_BUCKETS; i++) {
		seen += s->buckets[i];
		if (seen >= want)
			return stats_bound_s(i) * 1000;
	}
	return stats_bound_s(STATS_BUCKETS - 1) * 1000;
}

double stats_mean_ms(const struct stats *s)
{
	return s->count ? (double)s->sum_us / (double)s->count / 1000 : 0;
}
