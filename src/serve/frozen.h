/* frozen.h: replicas that are not wanted now and are kept as they are: stopped,
 * ready to run on. */
#ifndef SERVE_FROZEN_H
#define SERVE_FROZEN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/list.h"

struct replica;
struct revision;
struct serve;

/* In a revision, zeroed but for the list. */
struct frozen {
	struct list replicas; /* the last that was frozen first */
	unsigned n;
	uint64_t bytes;	  /* that each is counted with in serve.frozen_bytes */
	uint64_t used_at; /* uv_now: one was frozen or let run */
	uint64_t gap_ms;  /* from the time before to that one */
};

/* The revision wants fewer: whether this place is kept frozen, from now on, and
 * none of its replicas any more. False: it may as well end. */
bool frozen_keep(struct revision *rev, unsigned index);
/* The revision wants more: the one that was frozen last, ready, and to be put
 * among its replicas; NULL: there is none. */
struct replica *frozen_take(struct revision *rev);
/* One of them has died. */
void frozen_on_gone(struct replica *r);
/* Ends all of a revision. */
void frozen_leave(struct revision *rev);
/* Ends the one that is worth least, of all apis: for those that start and have
 * no room. False: there is none. */
bool frozen_give_way(struct serve *s);
/* What they may take is another: those that are worth least end until the
 * others fit. */
void frozen_enforce(struct serve *s);

#endif
