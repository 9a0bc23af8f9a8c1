/* rollout.h: a new revision takes over from the one that serves, and is watched
 * for a while once it does.
 *
 *   api.want != api.live        rollout_step: as many of both as policy/rollout
 *                               says, from what is there now
 *        │ all of the new one's are ready
 *        ▼
 *   api.live = api.want         the old one is the prior: it takes no requests;
 *        │                      its replicas stay as long as nobody needs their
 *        │                      memory
 *        ├── update_strategy.watch is over ──▶ the prior leaves
 *        ╰── policy/watch: it fails more ────▶ api.want = the prior, which is
 *                                              rolled out like any other
 */
#ifndef SERVE_ROLLOUT_H
#define SERVE_ROLLOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/json.h"
#include "policy/rollout.h"
#include "policy/watch.h"

struct api;
struct revision;
struct serve;

/* In an api, zeroed. */
struct rollout {
	struct rollout_step step; /* private: what policy said last */
	bool stepping;		  /* private */
	uint64_t held_at;	  /* private: uv_now: those who wait do so for
				     the new one alone, since */
	struct revision *prior;	  /* borrowed: in the api's; or NULL */
	uint64_t watch_until;	  /* uv_now: of the prior */
	struct chance_sample before; /* the prior's, when the watch began */
	char *worse; /* owned: why the new one is to go, or NULL */
};

void rollout_fini(struct rollout *r);
/* A new revision is on its way, and an older one serves. */
bool rollout_is_on(const struct api *a);
/* Looks at what is there; nothing is started or ended. */
void rollout_look(struct api *a);
/* One step of both revisions. Safe to call at any time. */
void rollout_step(struct api *a);
/* One step of that revision; of both while a rollout is on. */
void rollout_step_of(struct revision *rev);
/* Some time has gone by. */
void rollout_tick(struct api *a);
/* How many places the revision may have, of the n that are asked for. */
unsigned rollout_places(const struct revision *rev, unsigned n);
/* Some old replicas will make room for that revision. */
bool rollout_makes_room(const struct revision *rev);
/* The new revision whose replicas take requests beside those of the old; NULL:
 * none. */
struct revision *rollout_beside(const struct api *a);
/* The revision whose replicas those who wait are waiting for; NULL: none. */
struct revision *rollout_awaited(const struct api *a);

/* The new one serves: `old` is watched against, and stays; false: it is to
 * leave. */
bool rollout_keep_prior(struct api *a, struct revision *old);
bool rollout_is_prior(const struct revision *rev);
/* The prior leaves, if there is one. */
void rollout_drop_prior(struct api *a);
/* Replicas of a prior, of any api, end for others. False: there are none. */
bool rollout_give_way(struct serve *s);

/* A request of the revision has ended with its replica. */
void rollout_answered(struct revision *rev, bool failed);
/* A replica of it that was ready has ended by itself. */
void rollout_died(struct revision *rev, const char *cause);

/* "rollout" and "watch" of admin-api.md's API object. */
void rollout_put(const struct api *a, yyjson_mut_doc *doc,
		 yyjson_mut_val *root);

#endif
