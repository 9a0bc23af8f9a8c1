/* measure.h: the memory that an api's replicas take, looked at now and then. */
#ifndef SERVE_MEASURE_H
#define SERVE_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

struct api;

/* In an api, zeroed. */
struct measure {
	uint64_t bytes;	  /* of a whole replica, last time; 0: not known */
	uint64_t next_at; /* private: uv_now */
	bool under_way;	  /* private */
};

/* About once a second, while it has replicas. */
void measure_tick(struct api *a);

#endif
