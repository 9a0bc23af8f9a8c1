/* watch.h: whether a new version fails more of its requests than the one before
 * it did.
 *
 * It is, where as many failures by chance are too improbable: Fisher's exact
 * test of both samples (chance.h).
 *
 * It is asked again with each failure. So that all askings together raise a
 * false alarm with no more than WATCH_ALARM, the kth failure may have
 * WATCH_ALARM / (k (k + 1)) of it, which adds up to that over all k (the union
 * bound).
 *
 * Of the version before little may be known. It is taken to have had
 * WATCH_ASSUMED requests more, one of which failed: a first failure is no
 * alarm, whatever was before, and a version whose first calls all fail is found
 * with the third. */
#ifndef POLICY_WATCH_H
#define POLICY_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/chance.h"

#define WATCH_ALARM 0.01
enum {
	WATCH_ASSUMED = 100,
	/* Its processes ended of themselves so often: that is one that cannot
	 * stay, whatever it answers. */
	WATCH_DEATHS = 3,
};

/* Counts one; what is long ago fades. */
void watch_add(struct chance_sample *c, bool failed);
/* The probability of that many failures, or more, if now were no worse. */
double watch_chance(const struct chance_sample *now,
		    const struct chance_sample *before);
bool watch_is_worse(const struct chance_sample *now,
		    const struct chance_sample *before);

#endif
