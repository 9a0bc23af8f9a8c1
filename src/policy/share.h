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
	SHARE_LIGHT = 8,
	SHARE_CREDIT_MS = 200,
	SHARE_BRISK_US = 1000,
};

/* The weight of one of a replica's processes, in thousandths of a processor; 1
 * or more. An api claims what it is promised, min_replicas of them and one at
 * least; those beyond it take what others leave, and weigh so little that these
 * do not feel them:
 *   cpu_millis / processes, and of those beyond a sixteenth of that
 * cpu_millis: of a replica, 0: not said; processes: of a replica. */
int64_t share_millis(int64_t cpu_millis, unsigned processes, bool beyond);

/* What is not used of a part is credit, as a token bucket has it: half of the
 * part comes in, what is used goes out, and SHARE_CREDIT_MS of a processor are
 * kept at most. Who has credit is light: it weighs SHARE_LIGHT times what it
 * may claim, goes before those who take all they can get, and is answered about
 * as soon as if it were alone. All who are light together leave the others half
 * of their parts at least. */
struct share_credit {
	bool begun, light;
	int64_t us; /* of a processor */
};

/* used_us: of the processors, in the last span_us. claim: its weight, claims:
 * of all that are there; its part is processors * claim / claims. */
void share_credit(struct share_credit *c, int64_t used_us, int64_t span_us,
		  int64_t claim, int64_t claims, unsigned processors);

/* Whether one that is light is to push others off a processor as soon as a
 * request comes. Where a request takes less than SHARE_BRISK_US it costs more
 * than it gains: the daemon would be pushed off, too, each time that it sends
 * one of several. */
bool share_is_brisk(bool light, uint64_t service_ns);

#endif
