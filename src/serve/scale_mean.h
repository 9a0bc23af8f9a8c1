/* scale_mean.h: requests in flight, sampled once a second and averaged as
 * Cortex did: by steps of ten samples, over as many steps as its window has. */
#ifndef SERVE_SCALE_MEAN_H
#define SERVE_SCALE_MEAN_H

#include <stdbool.h>
#include <stdint.h>

struct scale_mean {
	double *steps; /* owned: a ring */
	uint32_t cap, n, at;
	uint64_t sum;	  /* of the step that is under way, ... */
	uint32_t samples; /* ... and of how many */
};

void scale_mean_fini(struct scale_mean *m);
/* A sample. True when it ends a step: *ret is the mean of the last `steps` of
 * them, or of as many as there were. */
bool scale_mean_add(struct scale_mean *m, uint32_t in_flight, uint32_t steps,
		    double *ret);

#endif
