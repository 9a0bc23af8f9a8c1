/* batch.h: one predict for several requests.
 *
 * With batches predict takes lists, one item for each request, and returns a
 * list. What waits, waits in worker.queue; a slot takes as many as
 * policy/batch.h says, makes the arguments of each, so that what is no good is
 * refused before it joins, and answers all. An item that is an exception is
 * that request's failure.
 *
 * Only POST has batches: other methods of a Handler run one by one. */
#ifndef WORKER_BATCH_H
#define WORKER_BATCH_H

#include "call.h"

/* Sets worker.batches: most below 2: there are none. With a target the size is
 * learned (policy/curve.h), up to `most`, and there is no interval. */
void batch_init(uint32_t most, uint64_t interval_ns, uint64_t target_ns);
/* Says what is learned. */
void batch_tell(void);
/* r waits from now on. The lock is held, as in the rest. */
void batch_note(struct request *r);
/* Whether r may be run with others. */
bool batch_joins(const struct request *r);
/* How many a free slot is to take now, the oldest being r. 0: none yet; then
 * *ret_hold is the ns after which to ask again at the latest. */
uint32_t batch_due(const struct request *r, int64_t *ret_hold);
/* Runs the oldest n. The GIL is held, too. */
void batch_run(struct slot *s, uint32_t n);

#endif
