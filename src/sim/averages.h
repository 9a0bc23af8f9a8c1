/* averages.h: requests in flight, averaged over windows that end at a tick. */
#ifndef SIM_AVERAGES_H
#define SIM_AVERAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/run.h"

enum { AVERAGES_MAX = 1024 }; /* ticks in a window */

struct averages {
	/* Set before. */
	uint64_t tick; /* ns */
	uint32_t keep; /* ticks in the longest window; below AVERAGES_MAX */

	/* private, 0 at first */
	double areas[AVERAGES_MAX]; /* at the tick of that number, modulo */
	uint64_t last;		    /* the newest tick's number */
	bool begun;
};

/* Whether a tick is due now; then it is counted, and those that were missed
 * since nothing was in flight are, too. */
bool averages_tick(struct averages *a, const struct sim_state *s);
/* Over the last n ticks; over those there have been, if fewer. */
double averages_over(const struct averages *a, uint32_t n);
/* When the next one is. */
uint64_t averages_next(const struct averages *a, uint64_t now);

#endif
