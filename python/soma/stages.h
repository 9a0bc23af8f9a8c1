/* stages.h: what is in each stage of this process and what it has done, told
 * to the daemon in STAGES.
 *
 * What happens is counted where worker.lock is held already. The looper tells
 * it, at most every STAGES_EVERY_MS and only what has changed: no request
 * waits for that. While a predict runs nothing changes, since the daemon knows
 * that time passes. */
#ifndef STAGES_H
#define STAGES_H

#include "worker.h"

enum { STAGES_EVERY_MS = 50 };

void stages_init(void);

/* All of these with the lock held. */

/* r goes to pre_predict; that has ended and took so long, 0: it never began. */
void stages_pre_begin(void);
void stages_pre_end(struct request *r, uint64_t ns);
/* How many are in pre_predict, or wait for it. */
uint32_t stages_in_pre(void);
/* The predict for n requests, one of which is r, has returned; or its stream
 * holds the slot no longer. */
void stages_predicted(struct request *r, uint32_t n);
/* The client of r has gone. */
void stages_gone(const struct request *r);
void stages_post_failed(void);

/* By the looper: tells what has changed, letting go of the lock meanwhile.
 * Returns the ms until it is to be called again; -1: not before something
 * happens. */
int stages_tell(void);
/* Whether the daemon knows all. */
bool stages_told(void);
/* The daemon is a new one: tells all again. */
void stages_forget(void);

/* For r->timed: the header that says how long it was in which stage. */
void stages_add_timing(const struct request *r, struct buf *head);

#endif
