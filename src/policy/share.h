/* share.h: the part of the processors that a replica may claim beside others.
 */
#ifndef POLICY_SHARE_H
#define POLICY_SHARE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SHARE_DEFAULT_MILLIS = 1000, /* of a replica that was given none: one
					processor */
	SHARE_BEYOND = 16,
};

/* The weight of one of a replica's processes, in thousandths of a processor; 1
 * or more. An api claims what it is promised, min_replicas of them and one at
 * least; those beyond it take what others leave, and weigh so little that these
 * do not feel them:
 *   cpu_millis / processes, and of those beyond a sixteenth of that
 * cpu_millis: of a replica, 0: not said; processes: of a replica. */
int64_t share_millis(int64_t cpu_millis, unsigned processes, bool beyond);

#endif
