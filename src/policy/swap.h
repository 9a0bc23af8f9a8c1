/* swap.h: who gets memory that cannot hold all models.
 *
 * A model is what a live api loads. One that is out and has requests waiting
 * claims memory; those that are in hold it. swap_next says the one next step:
 *
 *  1. Who has waited longest claims first. Once it has waited `patience` (its
 *     api's max_wait) nobody behind it is given anything before it, unless all
 *     that may go would not be enough for it, as while a neighbour of Soma's
 *     has the memory. Until then whoever can be helped is.
 *  2. START, when as much is free as it needs. Free is what is observed, less
 *     what those that are loading have still to take; that a process has ended
 *     says nothing.
 *  3. EVICT, of those that are idle, enough for it and no more. Idle is who has
 *     no request, and has had none for a `lull`: between two requests of one
 *     client nobody is idle, or each request would be a load. Of these go those
 *     of the least
 *
 *         value = reload * per_s / holds
 *
 *     seconds of loading that are lost per second, for each byte that it holds.
 *     That is Greedy-Dual-Size-Frequency (Cao and Irani, "Cost-aware WWW proxy
 *     caching algorithms", USITS 1997; Cherkasova, HPL-98-69): size in the
 *     denominator, cost and frequency above it. Aging is in per_s, which fades.
 *  4. YIELD, when idle ones are not enough and the claimant has waited
 *     `patience`: the one that has been in longest is given no new requests,
 *     so that it becomes empty, and is evicted then. Not before its dwell is
 *     over: `loads` times what its own loading took, `dwell` at least. Loading
 *     is the price and being in is the rent: who stays until the rent has
 *     reached the price spends at most half of the time on loading, whatever
 *     comes (ski rental: Karlin et al., "Competitive snoopy caching", 1988).
 *     One that has not become empty for another dwell counts no longer, and
 *     the next one yields, too. If no others have what is needed it is not to
 *     stand still meanwhile, as while a stream lasts for hours: UNYIELD, and
 *     it yields again after a dwell.
 *  5. REFUSE, when it needs more than there is beside what stays whoever waits.
 *  6. else WAIT.
 *
 * So whoever is in is served while the others have waited less than their
 * patience, and nobody waits for ever: at most patience, and for each before it
 * a dwell, the longest request, an end and a load.
 *
 * Never is one evicted that is loading, that has requests in flight, or whose
 * leases are not over: a lease is had by each request that waited when the
 * model was ready, until it is over, and by each that was sent to it. A model
 * is started only when it is out, so no two loads of one run together.
 *
 * Bytes are bytes, times ns of one clock that never goes back, `reload` and
 * `per_s` seconds and per second. There is no clock here. */
#ifndef POLICY_SWAP_H
#define POLICY_SWAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum swap_state {
	SWAP_OUT,
	SWAP_LOADING, /* a replica of it is */
	SWAP_IN,
	SWAP_LEAVING, /* it has been let go, and has not ended */
};

struct swap_model {
	enum swap_state state;
	bool kept;	    /* what would go next of it stays, whoever waits */
	bool yielding;	    /* that is given no new requests */
	uint64_t need;	    /* that a replica of it takes */
	uint64_t holds;	    /* that come free when it goes; LOADING: that it has
			       taken so far */
	uint64_t keeps;	    /* of it, that stay whoever waits */
	uint32_t in_flight; /* requests with what would go next of it */
	uint32_t leases;    /* requests that it must have run first */
	uint32_t waiting;   /* requests that no replica has */
	uint64_t oldest;    /* ns that the first of those has waited */
	uint64_t patience;  /* ns that it may */
	uint64_t in_since, yield_since; /* times */
	uint64_t spared_since; /* that it no longer yields, not being empty; 0:
				  it never was to */
	uint64_t idle_since;   /* that it had no request since; 0: it
				  had none at all */
	double reload;	       /* s */
	double per_s;	       /* requests to come */
};

struct swap_view {
	uint64_t now;
	uint64_t total;	    /* bytes that there are in all */
	uint64_t free;	    /* that are observed to be free */
	uint64_t leaving;   /* that come free by themselves, beside those of
			       models that are LEAVING */
	uint64_t coming_in; /* that others have still to take, beside models
			       that are LOADING */
	const struct swap_model *models;
	size_t n;
};

struct swap_rule {
	uint64_t dwell; /* ns, at least */
	double loads;	/* dwell in times of its loading */
	uint64_t lull;	/* ns without a request, after which one is idle */
	uint64_t look;	/* ns until one looks again at what tells nobody */
};

enum swap_act {
	SWAP_NONE, /* nobody claims anything */
	SWAP_START,
	SWAP_EVICT,
	SWAP_YIELD,
	SWAP_UNYIELD,
	SWAP_WAIT,
	SWAP_REFUSE,
};

enum swap_why {
	SWAP_NOBODY,
	SWAP_ROOM,	/* START: as much is free */
	SWAP_IDLE,	/* EVICT: it has nothing to do, and is worth least */
	SWAP_EMPTY,	/* EVICT: it has yielded, and has become empty */
	SWAP_FAIR,	/* YIELD: others have waited for as long as they may */
	SWAP_OVERDUE,	/* UNYIELD: it does not become empty, and no others
			   have what is needed */
	SWAP_ENDING,	/* WAIT: what has been let go has not ended yet */
	SWAP_FINISHING, /* WAIT: those that yield have requests */
	SWAP_PATIENCE,	/* WAIT: others are busy, and it may wait */
	SWAP_DWELL,	/* WAIT: others are busy, and have only just come */
	SWAP_ELSEWHERE, /* WAIT: nothing that may go has what it needs */
	SWAP_TOO_LARGE, /* REFUSE */
};

struct swap_step {
	enum swap_act act;
	enum swap_why why;
	size_t model;	 /* who is started, evicted, ... */
	size_t claimant; /* for whom; WAIT: who waits first */
	uint64_t until;	 /* WAIT: look again then, if nothing happens before */
	uint64_t needs, has; /* bytes; has: that it may use now, REFUSE: ever */
};

struct swap_step swap_next(const struct swap_view *v,
			   const struct swap_rule *rule);
/* The word of a reason: "idle". */
const char *swap_why_word(enum swap_why why);

/* Which of those who claim memory model i is, from 1; 0: none. */
size_t swap_place(const struct swap_view *v, size_t i, size_t *ret_of);
/* Which of those that would be evicted it is, from 1; 0: none. */
size_t swap_goes(const struct swap_view *v, const struct swap_rule *rule,
		 size_t i);
/* How long it is in before it yields, ns. */
uint64_t swap_dwell(const struct swap_model *m, const struct swap_rule *rule);

/* Requests that come to a model, for `per_s`: each counts less with time, and
 * has faded to a third after SWAP_FADE_S. 0 at first. */
enum { SWAP_FADE_S = 300 };
struct swap_rate {
	double n; /* private */
	uint64_t at;
};
void swap_arrived(struct swap_rate *r, uint64_t now);
double swap_per_s(const struct swap_rate *r, uint64_t now);

/* What a replica is taken to need that has run out of memory: half as much
 * again as it was known to need or to have had. With a limit of its own no more
 * than that, and never more than `most`, lest a guess keep it out for good. */
uint64_t swap_raised(uint64_t known, uint64_t had, uint64_t limit,
		     uint64_t most);

#endif
