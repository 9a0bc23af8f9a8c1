/* share.h: the part of the processors that a replica may claim beside others.
 */
#ifndef POLICY_SHARE_H
#define POLICY_SHARE_H

#include <stdint.h>

/* Of an api that was given none: one processor. */
enum { SHARE_DEFAULT_MILLIS = 1000 };

/* The weight of each of an api's processes, in thousandths of a processor; 1 or
 * more. An api has what `replicas` of them (min_replicas, and 1 or more) weigh
 * by their compute.cpu, however many it runs:
 *   cpu_millis * max(replicas, 1) / max(running, replicas * processes)
 * so that one that is asked for more than its share takes what others leave,
 * and nothing of theirs. cpu_millis: of a replica, 0: not said; processes: of a
 * replica; running: processes there are. */
int64_t share_millis(int64_t cpu_millis, unsigned replicas, unsigned processes,
		     unsigned running);

#endif
