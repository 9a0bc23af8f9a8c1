/* scale.h: how many replicas an api has: policy is told what is so, and what it
 * says is done. */
#ifndef SERVE_SCALE_H
#define SERVE_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/heap.h"
#include "core/json.h"
#include "core/list.h"
#include "policy/autoscale.h"
#include "policy/autoscale_cortex.h"
#include "serve/cold.h"
#include "serve/scale_mean.h"
#include "store/store.h"

struct api;
struct replica;
struct revision;
struct serve;

/* Starts of one tier, from SPAWN to READY. */
struct scale_load {
	uint64_t mean_ns; /* of about the last eight; 0: none was seen */
	uint64_t starts, total_ns; /* since the daemon's start */
};

/* Requests that came, for people: in the window of ten seconds that is under
 * way, and in the one before it. */
#define SCALE_CAME_NS UINT64_C(10000000000)
struct scale_came {
	uint64_t window; /* which: time / SCALE_CAME_NS */
	uint32_t now, before;
};

struct scale {
	/* Replicas that each revision of the api is to have, before its own
	 * bounds: revision_requested. */
	uint32_t wanted;
	bool begun;   /* private: init_replicas has been considered */
	bool asleep;  /* by hand: none, until the next request */
	bool evicted; /* its memory is others': what policy would keep for
			 the next request is not there again before it */
	/* A request found none: one at least, until it is ready; and if it
	 * was told to come again, until it has had the time to. */
	bool waking, refused;
	uint64_t awaited_until; /* uv_hrtime: the last who was told, and when */
	/* As of asked_ns: no fewer by the schedule, which is so for that long;
	 * replicas that are passing on answers. */
	uint32_t scheduled;
	uint64_t schedule_ns;
	uint32_t answering;
	/* No fewer than so many until then (uv_hrtime), said by hand. */
	uint32_t held;
	uint64_t held_until;

	struct autoscale policy;    /* by latency */
	struct cortex_scale cortex; /* by Cortex's formulas, ... */
	struct scale_mean mean;
	double mean_in_flight;	    /* ... told this at its last tick */
	struct scale_view view;	    /* what policy was told last, ... */
	struct scale_advice advice; /* ... and what it said */
	uint64_t asked_ns;	    /* when; 0: never */
	struct heap_node ask;	    /* private: in serve.asks, by uv_now */

	/* That a request is with a replica: a mean of about the last hundred,
	 * whichever replicas they had; 0: not known. */
	uint64_t service_ns;
	uint32_t held_n; /* private: requests that it was made of */
	struct scale_came came;
	struct scale_load loads[COLD_TIERS];
	uint64_t starts; /* of replicas, of those that never were ready, too */
	uint64_t replica_ns;	/* of those that are gone: scale_replica_ns */
	uint64_t cold_requests; /* that found no replica ready */

	/* What is kept is not what it is: in serve.changed since. */
	bool is_changed;
	struct list changed;
	uint64_t kept_at; /* uv_now: last; 0: never */
};

void scale_fini(struct api *a);

/* A revision is asked for: a new api begins with its init_replicas. */
void scale_begin(struct api *a);
/* After a restart, before revisions are stepped: what runs is what is wanted.
 */
void scale_adopted(struct api *a);

/* A request has come for the revision. O(1): this is on everybody's way. */
void scale_on_request(struct api *a, const struct revision *rev,
		      uint64_t now_ns);
/* A request is over, or no longer with a replica. O(1), too. */
void scale_on_over(struct api *a);
/* A request was with a replica for so long. O(1). */
void scale_on_held(struct api *a, uint64_t took_ns);
/* A request must wait. Starts what it needs; lets nothing go. */
void scale_on_wait(struct api *a);
/* The same, but it will not wait. */
void scale_on_refusal(struct api *a);
/* A request was told to come again in so many seconds: one is kept for it until
 * then, and a little longer. */
void scale_on_promise(struct api *a, uint32_t seconds);
/* Nobody waits for a start any more: it fails. */
void scale_on_hopeless(struct api *a);
/* A replica is ready. */
void scale_on_ready(struct api *a, const struct replica *r);
/* One that was frozen has answered since, after so long. */
void scale_on_thawed(struct api *a, uint64_t took_ns);
/* A replica has ended for good, or is frozen. */
void scale_on_gone(struct api *a, struct replica *r);
/* How long replicas have been there since the daemon's start, in all: from
 * being asked for until they were gone, starts included. Never shrinks. */
uint64_t scale_replica_ns(const struct api *a);
/* What a replica of it takes is known, and was not. */
void scale_on_measured(struct api *a);
/* A replica of it has left so that others have the memory. */
void scale_on_evicted(struct api *a);
/* Replicas that are to be there whatever policy says, beside min_replicas: by
 * the schedule, by hand. */
uint32_t scale_least(const struct api *a);
/* One is to be there for whoever was told to come again. */
bool scale_is_awaited(const struct api *a);
/* The revision that was asked for is live, and was not. */
void scale_on_live(struct api *a);
/* By hand: so many now, and no fewer for a while; 0: none until the next
 * request. On success `done` comes when that is durable. */
int scale_set(struct api *a, uint32_t n, store_done *done, void *data,
	      struct err *err);

/* What outlives the daemon: what was said by hand, and what was learned (load
 * and service times, gaps, memory), or how far a splitter's canary is. As JSON,
 * free() it; back again, after api_want: what makes no sense is left out. */
char *scale_kept_json(const struct api *a);
void scale_recall(struct api *a, const char *json);
/* About once a second: keeps what has changed, of each api once a minute. */
void scale_keep_tick(struct serve *s);
/* Keeps all that has. */
void scale_keep_all(struct serve *s);
/* Requests per second, of the last ten. */
double scale_rate(const struct api *a);

/* "cold" of admin-api.md's API object. */
void scale_put(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct api *a);

/* What the next replica of it will be started from, if none is frozen. */
enum cold_tier scale_start_tier(const struct revision *rev);
/* Where the next one will come from, and how long that takes; 0: no start was
 * seen that tells. */
enum cold_tier scale_next_tier(const struct revision *rev);
uint64_t scale_load_ns(const struct revision *rev);

/* The clock of all apis' questions. */
void scale_clock_open(struct serve *s);
void scale_clock_close(struct serve *s);

#endif
