/* follow.h: watches rollouts until each is live, and has been watched by the
 * daemon while requests come, or has failed. */
#ifndef CLI_FOLLOW_H
#define CLI_FOLLOW_H

#include "cli/display.h"

/* timeout_ms 0: none. watches: not only until it is live. CLI_OK when nothing
 * kept it from watching, whatever the rollouts' ends: those are in `rollouts`,
 * with samples. */
int follow_rollouts(struct admin *ad, struct progress *rollouts, size_t n,
		    int64_t timeout_ms, bool watches, struct display *d);

#endif
