/* autoscale.h: how many replicas an api is to have.
 *
 * Levels. Level k of an api is needed while its requests ask for k replicas or
 * more. Requests ask for
 *
 *     n = arrivals in the last (s + w) * s / (s + w) / slots
 *
 * where s is the time of a slot that a request takes and w how long it may
 * wait: so many come in any such time if a rate goes on (Little: rate * s are
 * busy), and of so many who come at once the last waits w with n replicas.
 * Where requests take much longer than they may wait and none waits, it is
 * those that are in flight, which is the same, but exact.
 *
 * Where a replica is there within w, it is those that are in flight, too: who
 * may take long need not wait for another who does. That is so from w / 2 on
 * for s, and where s says less, since it is a mean, for who has waited so long.
 *
 * Keeping. When a level is no longer needed, its replica is kept for a time T
 * that depends on how long it was until the level was needed again before (the
 * gaps): with those seen, by their histogram, T is the one of
 *
 *     least  E[min(gap, T)] + P(gap > T) * price
 *
 * which is what a kept replica costs, in replica-seconds, and what it costs to
 * have none when it is needed:
 *
 *     price = load + worth * max(0, load - w)
 *
 * the time of loading, which a replica takes up, too, and the time that
 * somebody waits for it, at `worth` replica-seconds for each second of it.
 * Where the rule says how long (`keep`), T is that. gaps.h says what is known
 * of a level's gaps. The price is off by chance, up to 15%: what apis that are
 * alike do changes with it bit by bit. As many replicas are kept as there are
 * levels whose time is not over. This is the ski-rental problem with a known
 * distribution (Karlin et al., "Competitive randomized algorithms for
 * non-uniform problems", 1990), for each level of concurrency; "Serverless in
 * the Wild" (Shahrad et al., ATC 2020) learns gaps of whole functions.
 *
 * Starting. A replica is started for a level that is needed where its being
 * there at the needs to come is worth its start, by the same sum from the time
 * on that it will be ready, or where those who wait now would not have been
 * served without it by then. Else a short crowd that meets a slow model would
 * start replicas for nobody. A crowd that asks for more than what comes does
 * gets more where much is paid for waiting. With a `keep` of the rule such a
 * level, too, is needed while as many ask for it: what was started for a crowd
 * is kept as long as all else.
 *
 * All is told by the caller; there is no clock here. */
#ifndef POLICY_AUTOSCALE_H
#define POLICY_AUTOSCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/gaps.h"

enum { AUTOSCALE_WINDOW = 8 };

/* What is so. Times in ns. */
struct scale_view {
	uint64_t now;	    /* of a clock that never goes back */
	uint32_t in_flight; /* requests that are here, waiting ones included */
	uint32_t waiting;   /* those that no replica has */
	uint64_t oldest;    /* how long the first of these has waited */
	uint32_t ready;	    /* replicas */
	uint32_t loading;   /* those that have been started, or will be again */
	uint32_t slots; /* requests that a replica serves at once; 1 or more */
	uint64_t service; /* that a request holds a slot; 0: not known */
	uint64_t load;	  /* from wanting a replica to its being ready; 0: not
			     known */
};

/* What is asked for. */
struct scale_rule {
	uint32_t min, max; /* replicas; max 1 or more */
	uint64_t patience; /* ns that a request may wait: w */
	double worth;	   /* replica-seconds for a second of waiting */
	uint64_t keep; /* ns that a replica is kept which is not needed; 0: by
			  what was learned */
};

/* What decided. */
enum scale_why {
	SCALE_IDLE,    /* nothing is needed, and nothing is worth keeping */
	SCALE_MIN,     /* min_replicas */
	SCALE_MAX,     /* max_replicas: more are needed */
	SCALE_NEEDED,  /* by what comes, or is in flight */
	SCALE_BACKLOG, /* those who wait would wait too long otherwise */
	SCALE_KEPT,    /* more than are needed, since they will be again */
	SCALE_ENOUGH,  /* fewer than are needed: another would come too late */
	SCALE_FIRST,   /* how long requests take is not known yet */
};

struct scale_advice {
	uint32_t want;
	enum scale_why why;
	uint32_t needed; /* replicas, by what comes */
	double rate;	 /* requests per second that come */
	uint64_t again; /* ask again then, if nothing happens; 0: need not be */
	uint64_t kept;	/* KEPT: the ns that the topmost is kept in all */
	double expected; /* KEPT: how likely it is needed in that time */
	double price;	 /* seconds; 0: nothing is lost by a start */
};

struct scale_level {
	uint64_t idle_since; /* 0: never was needed */
	uint64_t keep_until;
	float expected;
	struct gaps gaps;
};

struct autoscale {
	/* private, 0 at first */
	struct scale_level *levels; /* owned: [0] is level 1 */
	uint32_t n_levels, cap_levels;
	uint32_t needed;     /* levels needed now */
	uint32_t crowd;	     /* levels that one was started for, while asked */
	uint32_t top;	     /* the highest that is needed or kept */
	uint32_t kept;	     /* how many are */
	uint64_t kept_until; /* until one fewer is */
	uint64_t width;	     /* of a bucket, ns */
	uint64_t bucket;     /* the newest: now / width */
	uint32_t counts[AUTOSCALE_WINDOW];
	uint32_t count; /* the sum */
	/* public: gaps that it has learned from */
	uint64_t learned;
};

void autoscale_fini(struct autoscale *a);
/* What it has learned of a level's gaps (the first is 0), for keeping, and back
 * again. Borrowed; NULL: nothing. */
const struct gaps *autoscale_gaps(const struct autoscale *a, uint32_t level);
void autoscale_recall(struct autoscale *a, uint32_t level,
		      const struct gaps *gaps);
/* A request has come. */
void autoscale_arrived(struct autoscale *a, uint64_t now);
/* Call it when a request has come or gone, a replica has become ready or ended,
 * and at `again`. */
struct scale_advice autoscale(struct autoscale *a, const struct scale_view *v,
			      const struct scale_rule *rule);
/* The word of a reason: "kept". */
const char *scale_why_word(enum scale_why why);

#endif
