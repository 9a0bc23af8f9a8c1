/* balance.h: which replica a request goes to, and whether it may go at all. */
#ifndef POLICY_BALANCE_H
#define POLICY_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the decision sees of a replica. */
struct balance_item {
	bool ready;
	uint32_t in_flight;
	uint32_t room; /* requests it may have at once; 0: no limit */
};

/* The least loaded ready replica with room, or -1. Among equals the first
 * after `last`, so that all of them are used. `skip`: one that must not be
 * chosen if another can (it has just failed this request); -1: none. */
int balance_pick(const struct balance_item *items, size_t n, size_t last,
		 int skip);

/* How long one request holds a slot, in ns, learned from answers: the mean of
 * about the last 16. One took took_ns from being sent to the head of its
 * answer, when `ahead` requests, itself included, were with the replica.
 * so_far_ns 0: nothing is known yet. */
uint64_t balance_service(uint64_t so_far_ns, uint64_t took_ns, uint32_t ahead,
			 uint32_t slots);

/* How many requests a process that takes any number serves at once, learned
 * from answers: the mean of about the last 16. `ahead` that are there together
 * and take f times as long as one alone (balance_alone) are worth ahead / f; if
 * they take no longer, twice as many may do, too. 1 or more; so_far 0: nothing
 * is known yet. Where requests are unlike each other it tells too few. */
double balance_at_once(double so_far, uint64_t alone_ns, uint64_t took_ns,
		       uint32_t ahead);
/* How long one alone takes: no longer than any took; that it takes longer than
 * was known only those tell that were alone. so_far_ns 0: nothing is known yet.
 */
uint64_t balance_alone(uint64_t so_far_ns, uint64_t took_ns, uint32_t ahead);

/* What is known of a replica's process. Times in ns, 0: not known. */
struct balance_process {
	uint32_t slots;
	uint32_t batch;	     /* most that a slot takes at a time; 0: one */
	uint64_t service_ns; /* of one request, as balance_service has it */
	uint64_t pre_ns;     /* what it takes to make one ready for a slot */
	uint64_t predict_ns; /* of what a slot takes at a time */
	bool alone;	     /* no other replica may come to help it */
};

/* Requests that the process is sent at once: all slots, and as many again
 * waiting inside, so that a slot that falls free finds its next request there
 * and not a round trip away. Where requests take less than a trip between
 * processes, a millisecond's worth of them, 32 a slot at most: daemon and
 * replica then change places once for many requests. Of full batches there is
 * one for each slot, and one to take next. What is in pre_predict comes on top:
 * while predict runs once, pre / predict times what the slots take must be on
 * its way to them. What lies inside can no longer go to another replica, so it
 * is no more than that; and it is nothing where another may come, and requests
 * take so long that a trip to the slot is a hundredth of it, or nobody knows
 * yet. */
uint32_t balance_room(const struct balance_process *p);

/* Whether one more request may be admitted (Cortex's max_replica_concurrency:
 * in flight per replica, waiting ones included, before 503). */
bool balance_admit(uint64_t in_flight, uint32_t replicas,
		   uint32_t max_replica_concurrency);

/* What a request is, for deciding whether it may run a second time. */
struct repeat_facts {
	bool idempotent_method; /* GET, HEAD, PUT, DELETE, OPTIONS, TRACE */
	bool idempotency_key;	/* it carries Idempotency-Key */
	bool retry_safe;	/* its api says `retry: safe` */
	bool body_kept;		/* all of its body can be sent again */
};

/* A request that may have begun to run in a replica that died. */
bool repeat_allowed(const struct repeat_facts *f);

#endif
