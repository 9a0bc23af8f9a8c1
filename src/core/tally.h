/* tally.h: what a replica has in each stage and what it has done since its
 * start: counted by the replica, told in STAGES, added up by the daemon. */
#ifndef CORE_TALLY_H
#define CORE_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/str.h"

/* Calls of predict by the requests that they were for: 1, 2, up to 4, up to
 * 8, ... up to 1024, and more. */
enum { TALLY_SIZES = 11 };

struct tally {
	/* Requests in each stage now. */
	uint32_t pre;	  /* in pre_predict */
	uint32_t ready;	  /* waiting for a slot, or for a batch */
	uint32_t predict; /* in a slot */
	uint32_t post;	  /* answered, and in post_predict */
	uint32_t busy;	  /* slots that run predict; a batch holds one */
	/* Lately, on average. */
	uint64_t pre_ns;     /* of one request; 0: there is none */
	uint64_t predict_ns; /* of one call of predict; 0: not known */
	/* Since the start. */
	uint64_t pre_calls,
		pre_calls_ns; /* calls of pre_predict that have ended */
	/* Calls of predict, each of a batch, that have ended, and a stream's
	 * generator with them; and the requests that they were for. */
	uint64_t calls, calls_ns, requests;
	uint64_t busy_ns; /* calls_ns, and what those take so far that run */
	/* Whose client went away from the stage. */
	uint64_t gone_pre, gone_ready, gone_predict;
	uint64_t post_errors; /* calls of post_predict that failed */
	uint64_t sizes[TALLY_SIZES];
};

/* An end of pre_predict; of a call of predict for n requests. */
void tally_pre(struct tally *t, uint64_t ns);
void tally_call(struct tally *t, uint32_t n, uint64_t ns);
/* The most requests that sizes[i] counts. */
uint32_t tally_size(unsigned i);
/* Adds what `now` has done beyond `before`, never less than nothing: only what
 * is counted since the start. */
void tally_add(struct tally *sum, const struct tally *before,
	       const struct tally *now);
bool tally_same(const struct tally *a, const struct tally *b);

/* As JSON; what is 0 may be left out. */
void tally_write(const struct tally *t, struct buf *b);
/* False, and nothing is changed, for what is no JSON object. Each number is
 * bounded, and 0 where it is none. */
bool tally_read(struct tally *ret, struct str json);

#endif
