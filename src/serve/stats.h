/* stats.h: counters and a latency histogram of one api. */
#ifndef SERVE_STATS_H
#define SERVE_STATS_H

#include <stdint.h>

/* Bucket i counts answers that took at most 16 us * 2^(i/4); the last takes the
 * rest. */
enum { STATS_BUCKETS = 104, STATS_PER_OCTAVE = 4, STATS_FIRST_US = 16 };

struct stats {
	uint64_t codes[6]; /* by first digit of the status; [0]: client went
			      away */
	uint64_t buckets[STATS_BUCKETS];
	uint64_t count, sum_us;
};

void stats_add(struct stats *s, unsigned status, uint64_t us);
/* Upper bound in ms of the bucket that holds the quantile q (0..1); 0 when
 * empty. */
double stats_quantile_ms(const struct stats *s, double q);
double stats_mean_ms(const struct stats *s);
/* Upper bound of bucket i in seconds. */
double stats_bound_s(unsigned i);

#endif
