/* splitter.h: an api of kind TrafficSplitter: it runs nothing, and sends each
 * of its requests to another api, by weights. */
#ifndef SERVE_SPLITTER_H
#define SERVE_SPLITTER_H

#include "core/json.h"
#include "http/server.h"
#include "policy/split.h"
#include "serve/ramp.h"
#include "spec/spec.h"
#include "store/store.h"

struct api;
struct revision;
struct serve;

/* Since the daemon's start, or since it is a target. */
struct splitter_counts {
	uint64_t requests; /* sent there, for their clients */
	uint64_t errors;   /* of these, answered by 5xx or cut */
	uint64_t missing;  /* that it was not there for */
	/* Of a shadow. */
	uint64_t copies;   /* sent */
	uint64_t dropped;  /* not sent: too many, too large, not whole */
	uint64_t failed;   /* not answered by it, or with an error that the
			      main answer was not */
	uint64_t compared; /* of the others, those that were compared, ... */
	uint64_t not_compared; /* ... and those that were not: too long, coded,
				  the client's was cut */
	uint64_t differ;       /* of these */
	double largest;	       /* relative difference of two numbers */
};

struct splitter_target {
	char *name;	   /* owned */
	uint32_t weight;   /* now, and ... */
	uint32_t declared; /* ... by the file, or by hand */
	bool shadow;
	struct splitter_counts n;
};

struct splitter {
	int64_t revision;		 /* that it was made of */
	struct splitter_target *targets; /* owned */
	struct split_target *shares;	 /* owned; of each target, a shadow's
					    weight is 0 */
	size_t n;
	char *sticky; /* owned; header, or NULL */
	double tolerance;
	struct ramp *ramp; /* owned; NULL: it has no canary */
	uint32_t copy_credit;
	struct splitter_target *shadow; /* of targets, or NULL */
};

void splitter_free(struct splitter *sp);
/* The revision asked for is a splitter's: it is live at once. */
void splitter_step(struct revision *rev);

/* The api that has this request, which is counted there; NULL: it was answered
 * that there is none. */
struct api *splitter_pick(struct api *a, struct http_req *req);
/* One that has requests like this: nothing is counted, and nobody's turn is
 * over. NULL: none is there. */
struct api *splitter_peek(const struct api *a);
/* The request is over (on_log). */
void splitter_on_over(struct serve *s, const struct http_req *req);

/* The target of that name, or NULL: the weights may have changed. */
struct splitter_target *splitter_target(const struct api *a, const char *name);
/* The splitter that sends to it, or NULL. */
struct api *splitter_of(const struct serve *s, const char *target);
/* For the reader of a config file. */
enum spec_there splitter_there(const struct serve *s, const char *name);
/* Whether this may become what is deployed under its name. */
int splitter_check(const struct serve *s, const struct spec *spec,
		   struct err *err);

/* `up` has that weight from now on, the others what is left in the proportions
 * that they were given. _weights: what all would have. */
void splitter_set_weights(struct splitter *sp, const struct splitter_target *up,
			  uint32_t weight);
void splitter_weights(const struct splitter *sp,
		      const struct splitter_target *up, uint32_t weight,
		      uint32_t *ret);
/* The spec with which an api of it (NULL: its canary, or the
 * newer of two) has `weight`
 * percent, the others what is left in their proportions, and no canary has
 * steps any more. On success both texts
 * are the caller's to free. */
int splitter_promote(const struct api *a, const char *name, uint32_t weight,
		     char **ret_spec_json, char **ret_name, struct err *err);

/* "splitter" of admin-api.md's API object: null for other kinds. */
void splitter_put(yyjson_mut_doc *doc, yyjson_mut_val *root,
		  const struct api *a);

#endif
