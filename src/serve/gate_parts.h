/* gate_parts.h: what the files of the gate share: the way of a request
 * (gate.c), who may come in (gate_admit.c), who asks for the same once more
 * (gate_calls.c), where it goes (gate_pick.c), whom a replica must have
 * answered before it leaves for others (gate_lease.c), and what it is told when
 * no replica answers it (gate_words.c). */
#ifndef SERVE_GATE_PARTS_H
#define SERVE_GATE_PARTS_H

#include "serve/api.h"

/*
 * A request's way, one struct in its arena:
 *
 *   accept -> (JOINING) -> QUEUED <-> SENT -> answered by the replica
 *                           |          |  \-> MOURNING -> 502 with the cause
 *                           +- timeout +----> 503, 504
 */
/* ASKING: JOINING goes on at a daemon that has yielded. */
enum waiter_state { QUEUED, SENT, MOURNING, JOINING, ASKING, ANSWERED };

struct waiter {
	struct heap_node due; /* in gate.due while it is unanswered: the end of
				 its time, or of its mourning, uv_now */
	struct list queue; /* in gate.queue, gate.suspects or replica.mourners
			    */
	struct http_req *req;
	struct api *api;
	struct replica *replica; /* SENT: where */
	enum waiter_state state;
	enum priority priority;
	struct str target;
	struct str key;	    /* of its call; n == 0: none */
	struct str body;    /* JOINING and in gate.calls: the request's */
	uint32_t limit_ms;  /* from its arrival; 0: none */
	bool limit_is_wish; /* the caller's, not request_timeout */
	bool timing;	    /* its answer is to have Server-Timing */
	bool tell_cold;	    /* its answer is to have X-Soma-Cold */
	bool come_again;    /* it does not wait where no replica is ready */
	bool cold;	    /* none was when it came */
	bool events;	    /* cold: it takes a stream of events */
	bool placed;	    /* SENT: holds a place of the replica's room */
	bool reached;	    /* some replica may have begun to work on it */
	bool suspect;	    /* one of ours died while it had it */
	bool alone;	    /* SENT: the replica has nothing else to do */
	bool aws_key; /* says that it is one call, not that it may run twice */
	bool lease;   /* counted in gate.leases */
	bool held;    /* its answer came while it had no client */
	bool is_call; /* in gate.calls, by `key` */
	bool asks;    /* of a call that may be here: it makes none */
	struct elder *elder; /* ASKING: whom; JOINING: who has none of it */
	bool left;	     /* its client went away from `stage` */
	bool cut; /* its replica broke off in the middle of the answer */
	enum gate_stage stage;
	uint64_t said_at; /* events: uv_now of the last comment */
	uint64_t sent_ns; /* uv_hrtime */
	uint32_t ahead;	  /* requests with the replica then, itself included */
	uint32_t tries;	  /* that were taken from it by a death */
	uint32_t skip_id; /* its last replica's index and number, plus one */
};

/* gate.c: answers it with an error; cause may be NULL. */
void gate__fail(struct waiter *w, int code, const char *cause,
		const char *text);
/* The same with members of the document behind "error", as JSON. */
void gate__fail_with(struct waiter *w, int code, const char *more,
		     const char *text);

/* gate_admit.c: each returns false when it has answered w instead. */
/* Whether it may come in at all; reads what it asks for. */
bool gate__admit(struct waiter *w, const struct spec *spec);
/* Whether it may wait, when no replica has room. A queue in which everybody
 * waits in vain would keep the slots at work for nobody. */
bool gate__may_wait(struct waiter *w, const struct spec *spec);

/* gate_calls.c */
/* Whether its body is awaited first: it may be a call that is there already. It
 * goes on by itself then. */
bool gate__joins(struct waiter *w);
/* Answers who asks of a call. */
void gate__not_here(struct http_req *req);
/* It is over. */
void gate__call_over(struct waiter *w);

/* gate.c: it is answered, or over. */
void gate__answered(struct waiter *w);
/* To a replica, or to wait for one. */
void gate__go(struct waiter *w, uint64_t now_ns);

/* gate_lease.c: both may be called again. */
void gate__take_lease(struct waiter *w);
void gate__end_lease(struct waiter *w);

/* gate_pick.c */
/* Whether some replica takes requests. */
bool gate__any_ready(const struct api *a);
/* A request has ended with that replica: counted with its revision. */
void gate__count(const struct waiter *w, const struct replica *r,
		 enum http_proxy_end end);
/* The replica for w, or NULL when none has room. */
struct replica *gate__pick(struct api *a, const struct waiter *w);
/* For waiter.skip_id. */
uint32_t gate__place_of(const struct replica *r);

/* gate_timing.c: what Server-Timing says, in its order. */
enum timing {
	TIMING_QUEUE, /* waiting for a replica, and in it for a slot */
	TIMING_PRE,
	TIMING_BATCH, /* waiting for a batch, and its slot */
	TIMING_PREDICT,
	TIMING_UPSTREAM, /* a command's, until the head of its answer */
	TIMINGS,
};
/* Asks a replica of ours to tell. What a client says there is left out. */
struct http_header gate__ask_timing(void);
/* The answer is about to begin: the replica's, or an error. */
void gate__timing(struct waiter *w);

/* gate_cold.c */
/* The answer of a replica is about to begin: X-Soma-Cold, where it is asked
 * for. */
void gate__tell_cold(struct waiter *w);
/* Seconds until one will be ready, for Retry-After; rev may be NULL. */
uint32_t gate__ready_in_s(const struct api *a, const struct revision *rev);
/* Answers w: no replica is ready, and when one will be. */
void gate__come_again(struct waiter *w, const struct revision *rev);
/* Whether it takes a stream of events, which may begin while it waits. */
bool gate__takes_events(const struct http_req *req);
/* Lets those hear who have waited long for a replica, and take events. */
void gate__let_hear(struct api *a);
/* Whether nobody is to wait for a replica of the one that serves: they cannot
 * start, and no other revision is on its way. */
bool gate__is_hopeless(const struct api *a, const struct revision *rev);
/* That, and none of it is being tried now. */
bool gate__rests(const struct api *a, const struct revision *rev);
/* Answers w: why there is none, and when it is tried again. */
void gate__cannot_start(struct waiter *w, const struct revision *rev);

/* gate_words.c */
void gate__retry_after(struct waiter *w, uint32_t seconds);

/* Each answers w. */
/* The api takes no more requests. */
void gate__turn_away(struct waiter *w);
void gate__overload(struct waiter *w, const char *text);
/* Its time is over. */
void gate__timed_out(struct waiter *w);
/* Its replica died; cause NULL: that lives, only the connection ended. */
void gate__died(struct waiter *w, const char *cause);

#endif
