/* gate.h: holds requests until a replica has room: admission, queue, deadline,
 * repeat. */
#ifndef SERVE_GATE_H
#define SERVE_GATE_H

#include <stdint.h>

#include "core/list.h"
#include "http/server.h"

struct api;
struct replica;
struct revision;

struct gate {
	struct list requests; /* unanswered, in order of arrival */
	struct list queue;    /* those of them that wait for a replica */
	uint32_t in_flight; /* admitted and not over, answered ones included */
	uint32_t queued;
	size_t last; /* the replica picked last */
};

void gate_init(struct gate *g);
/* The revision that takes requests: the newest that was live, else the one that
 * is on its way; NULL: none. */
struct revision *gate_serving(const struct api *a);
/* Takes the request: it will be answered, by a replica or by an error.
 * rest: what follows the endpoint in its path. */
void gate_accept(struct api *a, struct http_req *req, struct str rest);
/* A replica got room, or became ready: sends on what waits. */
void gate_flush(struct api *a);
/* Gives up on what has waited too long. */
void gate_tick(struct api *a, uint64_t now);
/* The replica is dead, and this is why: answers those who waited to hear. */
void gate_on_exit(struct api *a, struct replica *r, const char *cause);
/* The api goes: answers all that wait. */
void gate_end(struct api *a);

#endif
