/* measure.h: the memory that a revision's replicas take, looked at now and
 * then.
 */
#ifndef SERVE_MEASURE_H
#define SERVE_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "box/footprint.h"

struct api;
struct revision;

/* In a revision, zeroed. Bytes of a whole replica; 0: not known. */
struct measure {
	uint64_t bytes; /* all of it (PSS), last time */
	/* The most that was seen: what it takes for itself, with what it once
	 * had beside it, and the files that all replicas map together. */
	uint64_t own, shared;
	/* One has run out of memory: it is taken to need so much, until looks
	 * tell otherwise. */
	uint64_t ran_out;
	int64_t guess_of; /* all of this is of that revision; 0: it is its own
			   */
	uint32_t looks;	  /* that this was learned from */
	uint64_t next_at; /* private: uv_now */
	bool under_way;	  /* private */
};

/* About once a second, while it has replicas. */
void measure_tick(struct revision *rev);
/* A new one is taken to need what the one before does, until it is looked at.
 */
void measure_guess(struct revision *rev, const struct revision *before);
/* One of its replicas ran out of memory, when its process had so much; 0: not
 * known. */
void measure_ran_out(struct revision *rev, uint64_t had);

/* It can have no more than so much: what one that ran out is taken to need is
 * a guess, and no reason never to start it. False: it is known to need more. */
bool measure_lower(struct revision *rev, uint64_t has);

/* What a look has found. */
struct measured {
	struct revision *rev; /* borrowed; NULL: it is gone */
	int64_t revision;     /* its number */
	pid_t pid;	      /* who was looked at; another's by now, perhaps */
	struct footprint took; /* of it and of what is below it */
};
typedef void measure_done(struct api *a, const struct measured *m);

/* Looks at a process of the revision, on the pool. Not 0: it cannot. Else done
 * comes later, unless the api is gone by then. */
int measure_look(struct revision *rev, pid_t pid, measure_done *done);

#endif
