/* shadow_parts.h: a copy of a request, between the file that sends it
 * (shadow.c) and the one that compares its answer (compare.c). */
#ifndef SERVE_SHADOW_PARTS_H
#define SERVE_SHADOW_PARTS_H

#include "http/message.h"
#include "serve/serve.h"

/* An answer, of what went over the wire. */
struct shadow_answer {
	struct message in; /* first */
	struct arena mem;
	struct buf body;
	unsigned status; /* 0: there is none */
	bool whole, coded;
};

struct copy {
	struct list link; /* in serve.copies */
	uv_pipe_t pipe;
	uv_timer_t timer;
	uv_write_t write;
	uv_work_t work;
	unsigned handles;	 /* that are open */
	struct serve *serve;	 /* borrowed */
	char *splitter, *target; /* owned: names */
	double tolerance;
	bool to_head; /* HEAD: no answer has a body */
	struct buf body, request;
	struct buf answer, main; /* raw; full: too long */
	bool waits;		 /* to be compared on the pool */
	bool main_gone;		 /* the client's request did not end well */
	bool ended;		 /* the shadow's answer did, within its time */
	/* What came of the comparison. */
	struct shadow_answer ours, its;
	bool compared, differ;
	double largest;
};

/* Its connection is closed. Compares, counts and frees it, now or later. */
void shadow__compare(struct copy *c);
void shadow__free(struct copy *c);

#endif
