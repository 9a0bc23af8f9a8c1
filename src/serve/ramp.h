/* ramp.h: a splitter's canary: more and more of the requests, step by step, or
 * back to the weights of the file. What is decided is policy/canary's. */
#ifndef SERVE_RAMP_H
#define SERVE_RAMP_H

#include "core/json.h"
#include "core/list.h"
#include "policy/canary.h"

struct api;
struct serve;
struct splitter;
struct splitter_target;

enum ramp_state { RAMP_STEPS, RAMP_DONE, RAMP_BACK };

struct ramp {
	struct list link; /* in serve.ramps while there are steps to come */
	struct api *api;  /* borrowed: outlives us */
	struct splitter_target *target; /* borrowed: the splitter's */
	struct canary_plan plan;
	uint32_t *steps; /* owned: percent */
	uint32_t end;	 /* percent */
	enum ramp_state state;
	struct canary now;  /* at its end: of the last step */
	uint64_t before_ms; /* in this step, under earlier daemons */
	uint64_t since;	    /* uv_now: under this one */
	char *why;	    /* owned: of its last move; or NULL */
};

/* The revision asked for has a canary (in its split_json): it is at its first
 * step, or where an earlier daemon left it (a->ramp_kept), and has its weight.
 */
void ramp_begin(struct api *a, struct splitter *sp, yyjson_val *canary);
void ramp_free(struct ramp *r);

/* A request to the splitter is over that target has answered. */
void ramp_add(struct api *a, const char *target, bool failed);
/* About once a second. */
void ramp_tick(struct serve *s);

/* What outlives the daemon, and back again, before ramp_begin. */
void ramp_keep(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct api *a);
void ramp_recall(struct api *a, yyjson_val *kept);

/* "canary" of the splitter's JSON, or null. */
void ramp_put(yyjson_mut_doc *doc, yyjson_mut_val *top,
	      const struct splitter *sp);
/* For a history's row: where it is, or how it ended; free() it. NULL: there is
 * no canary. */
char *ramp_words(const struct api *a);
/* "stepping", "done", "back" */
const char *ramp_word(const struct ramp *r);

#endif
