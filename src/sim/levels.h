/* levels.h: replicas as a stack: the one used last is used next, so that the
 * k-th is idle while fewer than k are busy. Each is kept for a time after it
 * was last needed. */
#ifndef SIM_LEVELS_H
#define SIM_LEVELS_H

#include <stdint.h>

#include "sim/run.h"

struct levels {
	uint64_t keep; /* ns */
	uint32_t slots;
	uint64_t *idle_since; /* owned */
	uint32_t n, cap;      /* levels that are busy or kept */
	uint32_t busy;
};

void *levels_open(const struct sim_case *c, uint64_t keep);
void levels_close(void *state);
/* One for each request, and those that are kept. */
struct sim_want levels_want(struct levels *l, const struct sim_state *s);

#endif
