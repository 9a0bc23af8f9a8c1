/* revision.h: one immutable version of an api, and its replicas. */
#ifndef SERVE_REVISION_H
#define SERVE_REVISION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/list.h"
#include "policy/watch.h"
#include "serve/environment.h"
#include "serve/frozen.h"
#include "serve/measure.h"
#include "serve/model_set.h"
#include "serve/model_warm.h"
#include "serve/replica.h"
#include "serve/schedule.h"
#include "serve/warmup.h"
#include "serve/zygote.h"
#include "spec/spec.h"

struct api;

enum revision_state {
	REVISION_UPDATING, /* rolling out */
	REVISION_LIVE,	   /* was live at least once */
	REVISION_FAILED,   /* its rollout failed; it goes on trying */
};

struct revision {
	struct list link; /* in the api's revisions */
	struct api *api;  /* borrowed: outlives us */
	int64_t number;
	struct spec_set set; /* owned */
	struct spec *spec;   /* in set */
	char *spec_json;     /* owned */
	char *project;	     /* owned: hash, or NULL */
	char *project_dir;   /* owned, or NULL */
	enum revision_state state;
	bool leaving; /* no longer wanted: ends when its replicas have */
	bool stepping, in_leave; /* private */
	bool starving; /* fewer are there than wanted, for want of memory, ...
			*/
	uint64_t starving_ns;	/* ... since (uv_hrtime) */
	uint64_t refused_until; /* uv_now: it needs more memory than it can ever
				   have, as message says; not asked again until
				   then */
	uint64_t in_ns;	    /* uv_hrtime: its first replica is ready since */
	uint64_t spared_ns; /* uv_hrtime: a replica yields no longer since, as
			       it did not become empty */
	bool blocked;  /* none can be started, as message says: it has no files
			  or no environment */
	char *message; /* owned: why it failed */
	char *sample;  /* owned: a request that it takes, as JSON; or NULL */
	char *imports; /* owned: what its __init__ imports of Python's own, as
			  the JSON of a list; or NULL */
	char *answer;  /* owned: to that, by proof.c; or NULL */
	struct environment *env;
	struct environment_user user;
	bool waiting_env;
	struct model_set models;
	struct model_warm warm;
	uint64_t disk_ns; /* uv_hrtime: its environment has been built, or its
			     models fetched, since; 0: all was there */
	struct schedule schedule; /* of its spec */
	struct warmup warmup;	  /* likewise */
	struct list replicas;	  /* the wanted ones, by index and number */
	struct list gone;	  /* leaving ones */
	struct replica_past past; /* of one that gave way; for the next */
	struct frozen frozen;	  /* those that are kept */
	struct zygote zygote;	/* what they are forked from, if there is one */
	struct measure measure; /* what they take, ... */
	uint32_t at_once;	/* ... requests that one serves; 0: not known */
	uint64_t begun_at;
	struct chance_sample count; /* of its requests, since the daemon is */
	unsigned deaths; /* of replicas that were ready, while watched */
};

/* spec_json and project are copied. Fails only for a spec that does not read.
 */
struct revision *revision_create(struct api *api, int64_t number,
				 const char *spec_json, const char *project,
				 struct err *err);
/* One step of what exists towards what is asked for. Safe to call at any time.
 */
void revision_step(struct revision *rev);
/* Lets all replicas go; the revision frees itself when none is left. */
void revision_leave(struct revision *rev);

/* Frees it; all replicas must be gone. */
void revision_free(struct revision *rev);

/* Told by replicas. */
void revision_on_ready(struct revision *rev, struct replica *r);
void revision_on_loading(struct revision *rev, struct replica *r);
/* It died, or its rollout is hopeless: `fatal` for what trying again won't
 * mend. It may have ended behind this. */
void revision_on_exit(struct revision *rev, struct replica *r,
		      const char *cause, bool fatal);
void revision_on_gone(struct revision *rev);

/* Replicas that are asked for; that are there, ready or not; and that are ready
 * with all of their processes. */
unsigned revision_requested(const struct revision *rev);
/* The same if no other revision were there. */
unsigned revision_asked(const struct revision *rev);
unsigned revision_places(const struct revision *rev);
unsigned revision_ready(const struct revision *rev);
/* Of those that are there, how many have no process: all of theirs are in
 * back-off. */
unsigned revision_resting(const struct revision *rev);
/* Whether that place has processes, or gets them, and not all are ready. */
bool revision_loads(const struct revision *rev, unsigned index);
/* The place that is missed least, which leaves first. */
struct revision_place {
	unsigned index;
	unsigned in_flight;
	uint64_t yield_ns; /* since when it yields; 0: it does not */
};
struct revision_place revision_next_to_go(const struct revision *rev);
/* Its memory is for others: that place ends, and is not kept frozen. */
void revision_evict(struct revision *rev);
/* It needs more memory than it can ever have: nobody is to wait for it for a
 * while. */
void revision_refuse(struct revision *rev, const char *text);
bool revision_is_refused(const struct revision *rev);
/* Those that are still passing on an answer that its client has not taken. */
unsigned revision_answering(const struct revision *rev);
/* Whether some process of it takes requests. */
bool revision_any_ready(const struct revision *rev);
/* Some replica of it died before it was ready, and was not ready since. */
bool revision_is_dying(const struct revision *rev);
/* A replica of it dies again and again. */
bool revision_is_failing(const struct revision *rev);
/* It is known that none will be ready soon: all that are there have tried, and
 * will fail again, or there is nothing to start. Why is in message. */
bool revision_cannot_start(const struct revision *rev);
/* Milliseconds until one tries again; 0: one does now, or none will. */
uint64_t revision_again_ms(const struct revision *rev);
bool revision_names_secret(const struct revision *rev, const char *name);
/* A new process for a place that has none. */
struct replica *revision_add(struct revision *rev, unsigned index,
			     unsigned number);
/* The place of a process; NULL if there is none yet. */
struct replica *revision_find(struct revision *rev, unsigned index,
			      unsigned number);

#endif
