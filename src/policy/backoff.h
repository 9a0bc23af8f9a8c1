/* backoff.h: when to start again what has died. */
#ifndef POLICY_BACKOFF_H
#define POLICY_BACKOFF_H

#include <stdint.h>

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MOST_MS = 60 * 1000,
	BACKOFF_RESET_MS = 10 * 60 * 1000, /* healthy for so long: forgotten */
};

/* The wait before the next start after `failures` in a row (1 or more):
 *   min(60 s, 0.1 s * 2^(failures-1)) * (0.8 ... 1.2 by `random`). */
int64_t backoff_wait_ms(unsigned failures, uint32_t random);

/* Failures in a row, counting one more death after `healthy_ms` of being ready
 * (0: never was), `start_ms` after it was started. Ten healthy minutes forget
 * all that was before, and so does a life longer than both its start and the
 * wait that another failure would bring: a replica that is killed from outside
 * is back at once, however often; one that dies young waits ever longer. */
unsigned backoff_count(unsigned failures, int64_t healthy_ms, int64_t start_ms);

#endif
