/* slots_parts.h: what the files of the slots share. A name with _l says that
 * the lock is held. */
#ifndef HOST_SLOTS_PARTS_H
#define HOST_SLOTS_PARTS_H

#include "host/slots.h"

uint64_t slots__now_ns(void);

/* Wakes a slot that waits, if there is one. */
bool slots__wake_idle_l(struct slots *s);

/* Whether a free slot should take what is in the queue now. If not, *ret_hold
 * is the ns until it should though nothing happens; 0: never. It may be NULL.
 */
bool slots__is_due_l(struct slots *s, uint64_t *ret_hold);

/* Takes out what is to run in one go, as a chain. There is something. */
struct work *slots__take_l(struct slots *s);

/* The chain has run, and took so long. */
void slots__learn_l(struct slots *s, const struct work *first, uint64_t took);

/* The chain has run: back into the queue what is to run again, in its order
 * before what waits; the rest is done. */
void slots__put_l(struct slots *s, struct work *first);

#endif
