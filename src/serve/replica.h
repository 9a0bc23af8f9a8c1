/* replica.h: one running process of a revision: started, watched, restarted,
 * stopped. */
#ifndef SERVE_REPLICA_H
#define SERVE_REPLICA_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/list.h"
#include "http/proxy.h"
#include "serve/batching.h"
#include "serve/cold.h"
#include "serve/local.h"
#include "policy/share.h"
#include "serve/work.h"

struct revision;
struct spec;

/*
 *            start            READY frame / probe / notify
 *   IDLE ----------> STARTING ----------> READY
 *    ^                  |                   |  stuck, not wanted
 *    | timer            | exit              v
 *   BACKOFF <-----------+---- exit ----- DRAINING -- empty or grace over -->
 * STOPPING | exit GONE (freed)
 *
 * DRAINING and STOPPING are one way: whoever replaces it is a new replica.
 */
enum replica_state {
	REPLICA_IDLE,
	REPLICA_STARTING,
	REPLICA_READY,
	REPLICA_FROZEN, /* freeze.c */
	REPLICA_BACKOFF,
	REPLICA_DRAINING,
	REPLICA_STOPPING,
	REPLICA_GONE,
};

struct port_look;

/* What is known of one that was let go, for the one that comes in its place. */
struct replica_past {
	unsigned failures, unready, restarts;
	bool hopeless;
	char *last_exit; /* owned, or NULL */
};

/* Exits in a row before READY that say that there will be others. */
enum { REPLICA_TRIES = 3 };

struct replica {
	struct list link;     /* in the revision's replicas or leaving */
	struct revision *rev; /* borrowed: outlives us */
	unsigned index;	      /* which replica of the revision ... */
	unsigned number;      /* ... and which of its processes */
	char *id; /* owned: "iris-4-0", "iris-4-0.1" for process 1 */
	enum replica_state state;

	struct process *process; /* or NULL */
	bool proved;		 /* this process has answered a request */
	bool spurned; /* its zygote could not fork, or not well: the next start
			 is another's */
	struct http_upstream up;
	bool up_open, up_closing;
	int port; /* command: what $PORT says */

	uint32_t slots;	     /* of one of ours; 0: a command's are its own */
	uint32_t in_flight;  /* requests with it now, answers that are being
				passed on included */
	uint32_t placed;     /* those of them that hold a place of its room */
	uint32_t released;   /* those whose stream has given it back since */
	uint32_t room;	     /* 0: no limit */
	uint64_t service_ns; /* of one request in a slot; 0: not known */
	uint64_t steady_ns;  /* the same, by many more answers */
	uint64_t answers;    /* that these were measured with */
	uint64_t alone_ns;   /* without a limit: balance_alone, ... */
	double together;     /* ... and balance_at_once; 0: not known */
	struct work work;    /* of its slots, as it says */
	struct use {
		pid_t pid; /* whose it is */
		uint64_t at_ns, cpu_ns;
		struct share_credit credit;
	} use;			  /* private: of the processors (weigh.c) */
	struct batching batching; /* likewise */
	unsigned elders; /* requests that earlier daemons, which have yielded,
			    still have with it, ... */
	unsigned elders_placed;	      /* ... and those that hold a place */
	unsigned told_n, told_placed; /* private: HOLDS, of one that has */
	bool alone;    /* it has a request that may have killed another: it is
			  sent nothing else until that one's answer begins */
	bool yielding; /* it is sent nothing new, so that others get its
			  memory, ... */
	uint64_t yield_ns; /* ... since (uv_hrtime) */
	uint64_t
		hold_until; /* uv_now: refused a connection, not tried before */
	struct list mourners; /* requests that wait to hear why it died */

	unsigned failures; /* deaths in a row, for the back-off */
	unsigned unready;  /* exits in a row before READY */
	bool hopeless; /* the last of them says that the next start will fail,
			  too */
	uint64_t again_at; /* uv_now: BACKOFF ends then */
	unsigned restarts;
	enum cold_tier tier; /* what it was started from */
	uint64_t there_ns;   /* uv_hrtime: it has been there since; 0: it is
				frozen */
	bool stopped;	     /* FROZEN, and nothing in it runs */
	bool thawed;	     /* its revision is still to be told */
	uint64_t thawed_ns;  /* uv_hrtime; 0: it has answered since, or was
				started */
	uint64_t started_ns; /* uv_hrtime; 0: before the daemon was */
	uint64_t spawned_at, ready_at; /* uv_now */
	char *last_exit; /* owned: cause of the last death, or NULL */
	char *detail;	 /* owned: "importing predictor.py", or NULL */
	char *failed;	 /* owned: what its FAILED frame said, for people */

	uv_timer_t timer; /* private: back-off, probe, grace */
	bool timer_open;
	unsigned probe_ms;
	bool probing;
	/* private: warming.c */
	struct warming {
		bool on;	    /* it is asked its warm-up requests */
		bool over;	    /* its process has answered them all */
		bool asking;	    /* one is on its way */
		bool told;	    /* an event says how far it is ... */
		uint64_t told_at;   /* ... since then (uv_now) */
		unsigned nth, time; /* from 0: which, and how often it was */
		const char *broken; /* why that has no answer; or NULL */
		char *body;	    /* owned: from its file; or NULL */
		size_t n;
	} warming;
	uv_tcp_t probe;
	uv_connect_t probe_req;
	bool probe_open;
	struct port_look *look; /* under way: where does it listen? or NULL */
	uint64_t look_at;	/* uv_now: the next one */
	uint64_t heard_at;	/* last sign on the control channel */
	unsigned pings;		/* asked since, unanswered */
	bool stuck;		/* why it leaves */
	const char *overdue;	/* why it was killed while it left, or NULL */
	uint64_t grace_until;
};

struct replica *replica_create(struct revision *rev, unsigned index,
			       unsigned number);
/* IDLE to STARTING; a failure to start goes to BACKOFF like any death. */
void replica_start(struct replica *r);
/* Takes a process from before the daemon's restart. */
void replica_adopt(struct replica *r, struct process *p, int port);
/* No new requests; ends when it has none, or after grace_ms; freed at the end
 * (revision_on_gone is told). */
void replica_leave(struct replica *r, uint32_t grace_ms);
/* It has begun to answer a request that took so long, sent when `ahead` were
 * with it. */
void replica_answered(struct replica *r, uint64_t took_ns, uint32_t ahead);
/* A request that was sent when `ahead` were with it has given its place back,
 * answered, after so long. */
void replica_held(struct replica *r, uint64_t took_ns, uint32_t ahead);
/* Requests that it works on at the same time; 0: it has not said. */
uint32_t replica_slots(const struct replica *r);
/* The same, with all of a batch for those that batch; of one without a limit as
 * many as answers tell. 1 or more. */
uint32_t replica_at_once(const struct replica *r);
/* How long a request holds a slot, for who asks how long many will: a halt of
 * the machine is no measure. 0: not known. */
uint64_t replica_steady_ns(const struct replica *r);
/* Whether a request's place is free again with the head of its answer, unless
 * that is a stream: predict is over then. A command may compute on, and says
 * so only by ending its answer. */
bool replica_frees_at_head(const struct replica *r);
/* Whether what kills it may be one of the requests that it works on. Of a
 * command's all is unknown, also whether a connection's end was its death. */
bool replica_is_suspicious(const struct replica *r);
/* freeze.c: from READY, where nothing is in it, to FROZEN, among its revision's
 * frozen; and back to READY, in no list. */
bool replica_may_freeze(const struct replica *r);
void replica_freeze(struct replica *r);
void replica_thaw(struct replica *r);
/* From now on it is sent nothing but what it was loaded for; false: again
 * everything. */
void replica_yield(struct replica *r, bool yielding);
/* Its back-off is over, and its memory is others': it goes, and
 * its revision starts another one when there is. */
void replica_give_way(struct replica *r);
/* Requests of earlier daemons that it still has, and that hold a place. */
void replica_elders(struct replica *r, unsigned n, unsigned placed);
/* A request of it ended: a leaving one may be done now. */
void replica_idle(struct replica *r);
/* Heartbeats, about once a second. */
void replica_tick(struct replica *r);
bool replica_is_ready(const struct replica *r); /* takes requests now */
/* The one behind r in a list of replicas, the first for NULL; NULL: none. */
static inline struct replica *replica_next(const struct list *in,
					   const struct replica *r)
{
	struct list *it = r ? r->link.next : in->next;

	return it == in ? NULL : LIST_ENTRY(it, struct replica, link);
}
const char *replica_state_word(const struct replica *r);

#endif
