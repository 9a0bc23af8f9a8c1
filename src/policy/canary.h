/* canary.h: whether a canary, who gets requests step by step, goes on to the
 * next step, stays, or goes back because more of its requests fail.
 *
 * It goes back when two things are so beyond chance: more of its requests fail
 * than of the others' in the same step, by Fisher's exact test (chance.h),
 * and more than are put up with in any case, by the exact binomial tail. The
 * numbers are looked at again and again as they grow, and each look might be
 * wrong: the k-th of a step has its part, 1 / (k (k + 1)), of the step's, and
 * each of n steps its part, 1 / n, of CANARY_ALPHA (spending, as in K. K. G.
 * Lan, D. L. DeMets, Biometrika 70, 1983, here by the plain sum of all parts).
 * So a canary that is as good as the others goes back by mistake in
 * CANARY_ALPHA of all ramps at most, however long they take. */
#ifndef POLICY_CANARY_H
#define POLICY_CANARY_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/chance.h"

#define CANARY_ALPHA 0.01

struct canary_plan {
	uint32_t steps;	       /* 1 or more */
	uint64_t every_ms;     /* a step lasts so long, at least, ... */
	uint64_t min_requests; /* ... and has so many of its requests */
	double max_errors;     /* share of them that may fail in any case */
};

/* Of the step that it is in. All 0 to begin with. */
struct canary {
	uint32_t step; /* from 0 */
	struct chance_sample its, others;
	uint32_t looks;	    /* that were taken */
	uint64_t next_look; /* as soon as it has so many requests */
};

enum canary_move {
	CANARY_STAY,
	CANARY_ON,  /* to the next step */
	CANARY_END, /* that was the last one */
	CANARY_BACK,
};

struct canary_verdict {
	enum canary_move move;
	bool few; /* CANARY_STAY: its time is over, its requests are too few */
	/* CANARY_BACK: how probable such numbers were if it were as good as the
	 * others (1: these had none to compare with); if it failed as often as
	 * it may; and below which probability that is believed no more. */
	double as_others, as_allowed, bound;
};

/* One more request of its, or of the others', is over. */
void canary_add(struct canary *c, bool its, bool failed);
/* Cheap while nothing is to be looked at: may be asked after each request. On
 * CANARY_ON it is in the next step already. */
struct canary_verdict canary_decide(const struct canary_plan *plan,
				    struct canary *c, uint64_t in_step_ms);

#endif
