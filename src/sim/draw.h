/* draw.h: random numbers that are the same for the same seed, everywhere. */
#ifndef SIM_DRAW_H
#define SIM_DRAW_H

#include <stdint.h>

#include "core/str.h"

struct draw {
	uint64_t state;
};

/* Each name has numbers of its own, whatever was drawn for others. */
struct draw draw_begin(uint64_t seed, struct str name);
double draw_unit(struct draw *d); /* 0 to below 1 */
double draw_exp(struct draw *d);  /* exponential, mean 1 */

#endif
