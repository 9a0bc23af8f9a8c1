/* queue.h: who of those that wait is next, and when it is worth coming again.
 */
#ifndef POLICY_QUEUE_H
#define POLICY_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

/* Classes of requests, the first to be served first. */
enum priority {
	PRIORITY_HIGH,
	PRIORITY_NORMAL,
	PRIORITY_LOW,
	PRIORITIES,
};

/* Of so many turns in a row one is for those who are passed over. */
enum { PRIORITY_TURNS = 8 };

#define PRIORITY_NOBODY UINT64_MAX

struct priority_turn {
	int next;	 /* enum priority, or -1: nobody waits */
	uint32_t passed; /* for the call after this turn was taken */
};

/* Whose oldest is next. since: when the oldest of each class arrived, or
 * PRIORITY_NOBODY. passed: how many turns in a row went to a class while a
 * lower one waited, 0 at first. The highest class is next; after seven such
 * turns it is the oldest of all lower classes, whichever of them it is in: so
 * each class moves, and nobody waits for ever. */
struct priority_turn priority_next(const uint64_t since[PRIORITIES],
				   uint32_t passed);

/* What was measured of those who take requests now. */
struct queue_rate {
	uint64_t slots;	     /* 0: not known */
	uint64_t service_ns; /* how long one request holds one; 0: not known */
	uint64_t answers;    /* that this was measured with */
	uint64_t for_ns;     /* for so long: the newest of them */
};

/* A model's first answers may take a hundred times as long as all others, and a
 * rollout's come while the machine has most to do. */
enum { RATE_ANSWERS = 16, RATE_SHARE = 64 };

/* Whether one who has limit_ns until its answer must begin waits in vain behind
 * `ahead` others: (ahead + 1) x service time / slots is more than three
 * quarters of it. The rest is for what was measured too low: a slot that works
 * for one who is answered too late works for nobody, and under overload, where
 * each waits until its time is nearly over, would do nothing else. With fewer
 * than RATE_ANSWERS, or those of less than that share of the limit, nothing is
 * known, and nobody does. */
bool waits_in_vain(uint64_t ahead, const struct queue_rate *rate,
		   uint64_t limit_ns);

enum { RETRY_AFTER_MAX_S = 60 };

/* In how many seconds those who wait now will have been served, for
 * Retry-After: waiting x service time / slots, rounded up, 1 at least and
 * RETRY_AFTER_MAX_S at most; 1 where nothing is known. */
uint32_t retry_after_s(uint64_t waiting, const struct queue_rate *rate);

#endif
