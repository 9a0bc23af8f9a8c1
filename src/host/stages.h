/* stages.h: what waits and runs in a host, told to the daemon in STAGES. */
#ifndef HOST_STAGES_H
#define HOST_STAGES_H

#include "host/slots.h"

enum { STAGES_EVERY_MS = 50 };

/* By the leader, with the slots' lock, which is let go of meanwhile: tells what
 * has changed, if the last time is long enough ago. Returns the ms until it may
 * be told; 0: there is nothing to tell. */
uint64_t stages_tell_l(struct slots *s);
/* By the leader: the daemon is a new one, tells all again. */
void stages_forget(struct slots *s);

#endif
