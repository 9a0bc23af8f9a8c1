/* batch.h: whether a free slot takes what waits, and how much of it. */
#ifndef POLICY_BATCH_H
#define POLICY_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#define BATCH_NEVER UINT64_MAX

/* What the decision sees. Times in ns. */
struct batch_facts {
	bool slot_free;
	uint32_t waiting;  /* that fit to the oldest, itself included; what
			      is beyond `max` need not be counted */
	uint64_t age;	   /* how long the oldest has waited */
	uint32_t max;	   /* max_batch_size, at least 1 */
	uint64_t interval; /* batch_interval */
	uint32_t expected; /* that will wait soon without anybody answering
			      first, those that do included: the others are
			      being read, in pre_predict, or about to ask
			      again (batch_expected) */
};

struct batch_verdict {
	uint32_t take; /* the oldest and so many - 1 of those that fit to it,
			  now; 0: nobody yet */
	uint64_t wait; /* then: ask again after this at the latest, and
			  whenever something changes. BATCH_NEVER: only then */
};

/* A free slot takes a full batch at once, and what there is as soon as nobody
 * else is expected: waiting for callers who are not there, or who wait for this
 * very answer, would only be idleness. Otherwise it waits for the others, until
 * the oldest has waited for the interval. */
struct batch_verdict batch_decide(const struct batch_facts *f);

/* Who asks again: callers that send their next request when they have an
 * answer. Where one batch answers them all, they come back all at once, and are
 * worth waiting for; where they are taken as they come, they split into groups
 * that take turns. Whether they do come is measured, not supposed: the share of
 * those answered that as many requests follow within the window is a running
 * mean, of about the last four batches. */
struct batch_callers {
	double share;	   /* 0 to 1; set before: what is supposed at first */
	uint64_t window;   /* that they are waited for; may change */
	uint64_t ended;	   /* the last batch */
	uint32_t answered; /* by it */
	uint32_t left;	   /* waited when it ended */
	uint32_t came;	   /* since, within the window */
};

/* A request waits since `now`. */
void batch_arrived(struct batch_callers *c, uint64_t now);
/* A batch has ended: answers go out, `left` wait. */
void batch_answered(struct batch_callers *c, uint32_t answered, uint32_t left,
		    uint64_t now);
/* How many will wait in all before the window ends; 0: nobody is known of. */
uint32_t batch_expected(const struct batch_callers *c, uint64_t now);

#endif
