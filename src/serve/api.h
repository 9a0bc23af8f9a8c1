/* api.h: one api: its revisions, its gate, its events and logs. */
#ifndef SERVE_API_H
#define SERVE_API_H

#include <stdbool.h>
#include <stdint.h>

#include "core/tally.h"
#include "policy/swap.h"
#include "serve/feed.h"
#include "serve/gate.h"
#include "serve/history.h"
#include "serve/logbook.h"
#include "serve/revision.h"
#include "serve/rollout.h"
#include "serve/scale.h"
#include "serve/splitter.h"
#include "serve/stats.h"
#include "store/store.h"

struct serve;

struct api {
	struct serve *serve; /* borrowed */
	struct list busy;    /* private: in serve.busy */
	char *name;	     /* owned */
	char *endpoint;	     /* owned: as routed now, or NULL */
	uid_t uid;	     /* its replicas' user; 0: ours */
	int64_t updated_ms;
	bool deleting;
	bool removing;	     /* the store is removing it */
	bool removed;	     /* the store has */
	bool delete_pending; /* the mark is on its way to the disk */
	uint64_t remove_at;  /* uv_now: not before */
	unsigned changing;   /* changes on their way to the disk */
	int64_t next_number; /* of the next revision */
	char *broken; /* owned: why its stored spec cannot be read, or NULL */
	struct revision *want; /* the revision asked for; in revisions */
	struct revision *live; /* the newest that was live; or NULL */
	struct list revisions;
	struct history history;
	struct rollout rollout;
	struct gate gate;
	struct scale scale;
	struct swap_rate came; /* its requests, for what its memory is worth */
	uint64_t swaps;	       /* replicas that gave their memory to others */
	uint64_t ran_out;      /* that ran out of memory */
	struct stats stats;
	/* Since the daemon's start, replicas that are gone included: what
	 * slots did; what calls of predict had taken that a process's end cut
	 * off; how long slots were busy, as it was shown last. */
	struct tally done;
	uint64_t lost_ns, busy_ns;
	struct feed events;
	struct logbook logs;
	uint64_t restarts;
	struct splitter *splitter; /* owned; NULL: of another kind */
	char *ramp_kept; /* owned: of its canary, by an earlier daemon; or NULL
			  */
};

struct api *api_create(struct serve *s, const char *name, uid_t uid);
/* What to run from now on; the older one leaves when the new one is live. */
void api_want(struct api *a, struct revision *rev, int64_t updated_ms);
/* An older revision that serves until the one asked for is live: from before a
 * restart. */
void api_restore_live(struct api *a, struct revision *rev);
/* The revision asked for has failed. Where an older one serves, that is the one
 * asked for again, and the other leaves; not at once, the caller may stand on
 * it. */
void api_on_failed(struct api *a, struct revision *rev, const char *why);
/* Does so now. */
void api_step_back(struct api *a);
/* Everything ends; then the store forgets it and it frees itself. */
void api_delete(struct api *a);
/* It has requests, replicas or an end to come: it is looked after from now on,
 * until it has none of them. */
void api_is_busy(struct api *a);
/* Frees at once; all revisions must be gone. */
void api_free(struct api *a);

/* An event: kept, stored, told to followers. replica and log_json may be NULL.
 */
void api_event(struct api *a, int64_t revision, const char *type,
	       const char *replica, const char *log_json, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* Adds a stored event to a feed: EVENT of admin-api.md. */
void event_add(struct feed *feed, const struct store_event *e);

/* Told by revisions. */
void api_on_live(struct api *a, struct revision *rev);
void api_on_revision_gone(struct api *a, struct revision *rev);

/* The revision of that number, or NULL. */
struct revision *api_revision(struct api *a, int64_t number);

/* "live", "updating", "error", "deleting"; message: why, or NULL. */
const char *api_status(const struct api *a, const char **ret_message);
/* The whole of admin-api.md's API object; free() it. */
char *api_json(const struct api *a);

#endif
