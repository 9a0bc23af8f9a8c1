/* batch.h: whether a free slot takes what waits, and how much of it. */
#ifndef POLICY_BATCH_H
#define POLICY_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#define BATCH_NEVER UINT64_MAX

/* What the decision sees. Times in ns. */
struct batch_facts {
	bool slot_free;
	uint32_t waiting;     /* that fit to the oldest, itself included; what
				 is beyond `max` need not be counted */
	uint64_t age;	      /* how long the oldest has waited */
	uint32_t max;	      /* max_batch_size, at least 1 */
	uint64_t interval;    /* batch_interval */
	bool more_are_coming; /* being read, or in pre_predict: they will wait,
				 too, without anybody answering first */
};

struct batch_verdict {
	uint32_t take; /* the oldest and so many - 1 of those that fit to it,
			  now; 0: nobody yet */
	uint64_t wait; /* then: ask again after this at the latest, and
			  whenever something changes. BATCH_NEVER: only then */
};

/* A free slot takes a full batch at once, and what there is as soon as nothing
 * else is coming: waiting for callers who are not there, or who wait for this
 * very answer, would only be idleness. Otherwise it waits for the others, until
 * the oldest has waited for the interval. */
struct batch_verdict batch_decide(const struct batch_facts *f);

#endif
