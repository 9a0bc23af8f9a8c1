/* serve.h: all apis of this daemon: what was asked for, and moving what exists
 * towards it. */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "core/map.h"
#include "http/lane.h"
#include "http/server.h"
#include "serve/api.h"
#include "serve/environment.h"
#include "serve/local.h"
#include "serve/model.h"
#include "serve/replica.h"
#include "serve/secret.h"
#include "serve/swap.h"
#include "store/blob.h"
#include "store/store.h"

struct serve {
	uv_loop_t *loop;
	struct lane *lane;
	const char *data_dir; /* borrowed; absolute */
	char *worker_dir; /* owned: DATA/lib/HASH/soma, readable by replicas */
	char *host_dir;	  /* owned: DATA/lib/HASH/host, likewise */
	char *own_dir;	  /* owned: DATA/lib/HASH/own, our libraries; or NULL */
	char *data_url;	  /* owned: "http://127.0.0.1:8000" */
	struct store *store;
	struct blobs blobs;
	struct local local;
	struct map apis;     /* name to struct api; those being deleted too */
	struct map routes;   /* endpoint to struct api */
	struct map reserved; /* endpoints of changes on their way to the disk */
	struct map secrets;  /* name to struct secret */
	struct environments environments;
	struct list elders; /* struct elder */
	struct models models;
	uint64_t models_size;	  /* bytes that they may have on the disk, 0: no
				     limit; the owner's, as warm_limit */
	uint64_t models_check_ms; /* between two looks at a source; 0: none */
	uv_timer_t tick;	  /* private: deadlines, heartbeats, retries */
	uint64_t next_second;	  /* private: of uv_now */
	struct list busy;    /* apis that have anything to be looked after */
	struct list copies;  /* of requests, for shadows */
	unsigned comparing;  /* private: of their answers, on the pool */
	struct list ramps;   /* canaries that have steps to come */
	struct list changed; /* apis whose scale.c's is not what is kept */
	struct heap asks;    /* scales, by when policy is to be asked */
	uv_timer_t ask;	     /* private: of the first of them */
	bool loaded; /* state and children are known: requests may be answered
		      */
	bool stopping;
	bool yielded; /* another daemon owns the store and all processes; here
			 are only the requests that replicas have */
	bool collecting, collect_again; /* private: garbage */
	unsigned measuring;    /* private: looks at memory on the pool */
	atomic_bool looks_end; /* private: those at files of models are to end
				*/
	/* private: what all replicas that are ready may claim of the
	 * processors (weigh.h): as far as they are counted anew, and when they
	 * were counted last */
	int64_t counting_claims, claims;
	unsigned turns;	     /* private: of the tick */
	unsigned processors; /* private */
	struct swap swap;
	uint64_t memory_limit; /* what all replicas may reserve; 0: all that
				  there is; the owner's to set at any time */
	uint64_t warm_limit;   /* what zygotes that are `auto` may take with all
				  others, and frozen replicas beside them; the
				  owner's to set at any time */
	uint64_t zygote_bytes; /* private: that all zygotes take */
	uint64_t frozen_bytes; /* private: that all frozen replicas take */
	unsigned deploys;      /* requests of api/ that work on the pool now */
	void (*on_stopped)(struct serve *s); /* private */
	/* The owner's, once it has yielded: req, which nothing was replied to,
	 * is for the next daemon. left_ms: of its time; -1: no limit is known.
	 */
	void (*pass_on)(struct serve *s, struct http_req *req, int64_t left_ms);
	uint32_t random; /* private */
};

/* The fields above `apis` are set by the caller, local's callbacks aside. Loads
 * what the store has; processes are adopted when the keeper tells of them. */
int serve_open(struct serve *s, int keeper_fd, struct err *err);
/* Ends all replicas within their grace, then calls back. No more requests may
 * come in. */
void serve_stop(struct serve *s, void (*on_stopped)(struct serve *s));
/* Frees what is left, after on_stopped. */
void serve_close(struct serve *s);

/* yield.c: for another daemon to take over. Why not now: something is half done
 * that would be lost; NULL: now. */
const char *serve_why_not_yield(const struct serve *s);
/* From now on nothing is changed, started or ended, no child is listened to,
 * and what waits for a replica is passed on. closed: the store is. */
void serve_yield(struct serve *s, void (*closed)(void *data), void *data);
/* Then, ten times a second: deadlines; tells how many requests each replica
 * still has. Returns how many all have. */
unsigned serve_yield_tick(struct serve *s);
/* local's on_held. */
void serve_on_held(struct local *l, struct process *p, unsigned n,
		   unsigned placed);
/* Its grace is over: tells those without an answer. */
void serve_yield_end(struct serve *s);

/* There is something that the tick is to look after: it is a short one again.
 */
void serve_is_busy(struct serve *s);

/* The api of a path and what follows its endpoint ("" or "/..."): the longest
 * endpoint that is the path or a whole-segment prefix of it. NULL: none. */
struct api *serve_route(struct serve *s, struct str path, struct str *ret_rest);

/* One api of a deploy: the spec as JSON, its project. */
enum serve_change { SERVE_CREATED, SERVE_UPDATED, SERVE_UNCHANGED };
/* What applying it would be. Fails if another api has the endpoint, or a secret
 * that it names is missing. */
int serve_check(struct serve *s, const struct spec *spec, struct err *err);
/* Makes it so: durable before `done`, rolled out after. */
void serve_apply(struct serve *s, const char *spec_json, const char *project,
		 bool force,
		 void (*done)(void *data, const struct err *err,
			      enum serve_change change, struct api *api),
		 void *data);
/* A new revision of the same content. */
void serve_refresh(struct serve *s, struct api *api,
		   void (*done)(void *data, const struct err *err,
				enum serve_change change, struct api *api),
		   void *data);
/* A new revision with the content of an older one; number 0: of the newest that
 * was live before the one asked for. */
void serve_roll_back(struct serve *s, struct api *api, int64_t number,
		     void (*done)(void *data, const struct err *err,
				  enum serve_change change, struct api *api),
		     void *data);
void serve_delete(struct serve *s, struct api *api,
		  void (*done)(void *data, const struct err *err), void *data);

void serve_put_secret(struct serve *s, const char *name, const char *value,
		      store_done *done, void *data);
/* E_NOTFOUND through done when there is none. */
void serve_remove_secret(struct serve *s, const char *name, store_done *done,
			 void *data);

/* Removes what no revision needs any more from the disk, in the background. */
void serve_collect_garbage(struct serve *s);

/* Names of apis (or endpoints) near to what was asked for, for a 404's text;
 * NULL: none. */
const char *serve_near_endpoint(const struct serve *s, const char *path);
const char *serve_near(const struct serve *s, const char *word);
uint32_t serve_random(struct serve *s);

#endif
