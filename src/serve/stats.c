#include "serve/stats.h"

#include <assert.h>
#include <math.h>

#include "core/mem.h"

/* The first whose bound is not below us. What log2 would tell, without it: it
 * is asked for each request. */
static unsigned bucket_of(uint64_t us)
{
	/* 2^(1/4), 2^(2/4), 2^(3/4): no whole number is on such a bound. */
	static const double step[] = {1.189207115002721, 1.414213562373095,
				      1.681792830507429};
	unsigned octave, i;
	double ratio;

	static_assert(STATS_PER_OCTAVE == ARRAY_LEN(step) + 1, "steps");
	if (us <= STATS_FIRST_US)
		return 0;
	octave = (unsigned)__builtin_clzll(STATS_FIRST_US) -
		 (unsigned)__builtin_clzll(us);
	ratio = (double)us / (double)((uint64_t)STATS_FIRST_US << octave);
	i = octave * STATS_PER_OCTAVE + (ratio > 1);
	for (size_t k = 0; k < ARRAY_LEN(step); k++)
		i += ratio > step[k];
	return MIN(i, (unsigned)STATS_BUCKETS - 1);
}

void stats_add(struct stats *s, unsigned status, uint64_t us)
{
	s->buckets[bucket_of(us)]++;
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
