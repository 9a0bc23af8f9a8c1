/* rollout.h: how many replicas the old and the new revision of an api have
 * while the new one takes over.
 *
 * With n asked for, `surge` more of both may be there, and `unavailable` fewer
 * may be ready; Kubernetes' rolling update has the same two bounds. What is
 * `auto` follows from memory:
 *
 *   room for all beside the old ones    all new ones start; when they are
 *                                       ready they take over at once
 *   room for some                       as many start; for each that is ready
 *                                       an old one goes, which makes room for
 *                                       the next
 *   room for none, but for some         one old one goes first, for each; when
 *   without the old ones                it is the last, requests wait
 *                                       until the new one is ready (`hold`)
 *   none even without them              nothing: `hopeless`
 *
 * There is no clock here, and no state: the same facts give the same step, so
 * that whoever comes after a crash goes on from what is there. */
#ifndef POLICY_ROLLOUT_H
#define POLICY_ROLLOUT_H

#include <stdbool.h>
#include <stdint.h>

#define ROLLOUT_AUTO UINT32_MAX

struct rollout_rule {
	uint32_t surge, unavailable; /* replicas, or ROLLOUT_AUTO */
};

/* What is so. Replicas that are leaving are in neither. */
struct rollout_view {
	uint32_t asked; /* for the new one, 1 or more */
	uint32_t kept;	/* of the old one, if there were no new one */
	uint32_t old_places, old_ready;
	uint32_t new_places, new_ready;
	/* More new ones for which there is memory now; beside all that are
	 * there, once those that leave or give way have ended; if no old one
	 * were there. UINT32_MAX: nobody counts it. */
	uint32_t room, soon, instead;
};

struct rollout_step {
	uint32_t old_places, new_places; /* as many as may be there */
	/* New ones that are ready take requests beside the old ones. */
	bool shares;
	/* Its next old one is the last that is ready, of both: those who come
	 * wait. Not to be done before it is known that they may. */
	bool hold;
	bool hopeless; /* it can never have room */
};

/* "2", "25%", "auto": replicas of n. up: how a share of one is rounded. */
uint32_t rollout_share(const char *text, uint32_t n, bool up);
struct rollout_step rollout_next(const struct rollout_view *view,
				 const struct rollout_rule *rule);

#endif
