/* gate.h: holds requests until a replica has room: admission, queue, priority,
 * deadline, repeat. */
#ifndef SERVE_GATE_H
#define SERVE_GATE_H

#include <stdint.h>

#include "core/heap.h"
#include "core/list.h"
#include "core/map.h"
#include "http/server.h"
#include "policy/queue.h"

struct api;
struct replica;
struct revision;

/* Where a request is, for counting who went away from there. */
enum gate_stage {
	STAGE_QUEUE,   /* waits for a replica */
	STAGE_REPLICA, /* a replica has it */
	STAGE_ANSWER,  /* its answer has begun */
	GATE_STAGES,
};

/* Since the daemon's start. */
struct gate_counts {
	uint64_t late;	    /* dropped unserved: their time was over */
	uint64_t overloads; /* refused at once: too many were there */
	uint64_t cancelled[GATE_STAGES]; /* the client went away */
};

struct gate {
	struct heap due;	       /* unanswered ones with a deadline */
	struct list queue[PRIORITIES]; /* those who wait for a replica, by
					  arrival */
	struct list suspects; /* those, too, whose replica died: each is sent
				 again alone, before all others */
	struct map calls;   /* by key: the waiter who made it (gate_calls.c) */
	uint32_t in_flight; /* admitted and not over, answered ones included */
	uint32_t queued;    /* in all queues */
	uint32_t leases;    /* unanswered ones that a replica was loaded for, or
			       was sent: it does not leave for others before */
	uint64_t rests_ns;  /* uv_hrtime: the last of them was over */
	uint32_t passed;    /* priority_next's */
	bool expiring;	    /* private */
	size_t last;	    /* the replica picked last */
	struct gate_counts counts;
};

void gate_init(struct gate *g);
void gate_fini(struct gate *g);
/* The revision that takes requests: the newest that was live, else the one that
 * is on its way; NULL: none. */
struct revision *gate_serving(const struct api *a);
/* Takes the request: it will be answered, by a replica or by an error.
 * rest: what follows the endpoint in its path. */
void gate_accept(struct api *a, struct http_req *req, struct str rest);
/* To a daemon that has yielded, from the one that serves: whether it runs this
 * call, in which case req has its answer. a may be NULL, where there is no such
 * api. Which it is the header GATE_CALL_API says. */
#define GATE_CALL_API "soma-call-api"
#define GATE_NOT_BEGUN "soma-not-begun"
void gate_find_call(struct api *a, struct http_req *req);
/* A replica got room, or became ready: sends on what waits. */
void gate_flush(struct api *a);
/* Its first replica is ready: it was loaded for all who wait. */
void gate_lease(struct api *a);
/* Gives up on what has waited too long. */
void gate_tick(struct api *a);
/* How long the oldest of those who wait has; 0: nobody does. */
uint64_t gate_oldest_ns(const struct gate *g, uint64_t now_ns);
/* What was measured of the replicas that take requests now; those that start
 * are counted as if they did. */
struct queue_rate gate_rate(const struct api *a);
/* The replica is dead, and this is why: answers those who waited to hear. */
void gate_on_exit(struct api *a, struct replica *r, const char *cause);
/* A start has failed. Where it is known now that no replica will be ready soon
 * all who wait are answered with why. */
void gate_give_up(struct api *a);
/* This daemon has yielded: all that wait are the next one's. */
void gate_pass_on(struct api *a);
/* The time of all that are unanswered, and have one, is over. */
void gate_expire_all(struct api *a);
/* The api goes: answers all that wait. */
void gate_end(struct api *a);

#endif
