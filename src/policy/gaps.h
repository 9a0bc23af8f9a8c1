/* gaps.h: how long it is until something is needed again, learned from how long
 * it was before.
 *
 * A histogram of hazards (Kaplan and Meier, 1958): of the gaps that are as long
 * as a bin, how many end in it. What came long ago fades, in each bin by those
 * alone that come as far: a thousand short gaps between two that take an hour
 * leave what is known of an hour.
 *
 * What was never seen has gaps like any others: as many of 1 to 2 s as of 1 to
 * 2 h (log-uniform, up to 18 hours), more of what people set clocks to, and
 * often none that ends. */
#ifndef POLICY_GAPS_H
#define POLICY_GAPS_H

#include <stdint.h>

/* From 1 ms, two for each doubling, to 9 days, and one that ends just behind
 * each time that clocks are set to: a minute, 5, 10, 15, 30, an hour, 2. */
enum { GAPS_BINS = 67 };

/* How many gaps were longer than the bins before this one, and how many of
 * these ended in it; the newest weighs 1. 0 at first. */
struct gaps {
	float came[GAPS_BINS];
	float ended[GAPS_BINS];
};

/* The end of a bin, in seconds. */
double gaps_bin_end(uint32_t bin);

/* One of so many seconds has ended. */
void gaps_learn(struct gaps *g, double gap);

/* How likely the end comes in each bin of time that begins `from` seconds after
 * a gap has begun; what is left to 1 never ends. A gap that is longer ends the
 * rest of it later. Shorter ones come one after the other meanwhile, and one of
 * them has begun by then. */
void gaps_expect(const struct gaps *g, double from, double ret[GAPS_BINS]);

#endif
