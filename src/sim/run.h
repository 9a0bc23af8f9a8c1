/* run.h: one api's requests, replicas and autoscaler on a clock of their own.
 *
 * Requests wait in one queue, in the order of their arrival; a replica that is
 * ready and has room takes the first. A replica takes `load` to be ready. One
 * that is not wanted ends at once if it is loading or has nothing, and else
 * when it has nothing: the newest that loads first. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include <stdint.h>

#include "sim/load.h"

/* What is the same for all policies. Times in ns. */
struct sim_case {
	uint64_t load;	   /* of a replica */
	uint64_t patience; /* who waits longer has missed the objective */
	uint32_t slots;	   /* requests that a replica serves at once */
	uint32_t min, max; /* replicas; the least is ours to keep, others know
			      none */
};

/* What a policy is told. */
struct sim_state {
	uint64_t now;
	uint32_t in_flight, waiting, ready, loading;
	uint64_t oldest;  /* how long the first of those has waited */
	uint64_t service; /* mean of those that have ended; 0: none has */
	uint64_t loads;	  /* `load` when one has been loaded, 0 before */
	double area;	  /* request-seconds: in_flight summed up over time */
};

struct sim_want {
	uint32_t want;	/* replicas */
	uint64_t again; /* ask again then at the latest; 0: at the next event */
};

/* knob: what moves a policy along its curve from few replicas to few misses;
 * its unit is the policy's own. keep: of ours, the seconds of keep_idle, 0
 * where it learns how long; no other has it. */
struct sim_setting {
	double knob, keep;
};

struct sim_policy {
	const char *name;
	const char *knob; /* what it is, for people: "s of keep-alive" */
	double usual;	  /* the documented knob */
	const struct sim_setting *settings; /* for a curve; knob 0 ends them */
	void *(*open)(const struct sim_case *c, struct sim_setting set);
	void (*close)(void *state);
	void (*arrived)(void *state, uint64_t now); /* or NULL */
	struct sim_want (*want)(void *state, const struct sim_state *s);
};

extern const struct sim_policy sim_soma, sim_cortex, sim_kpa, sim_keepalive,
	sim_hybrid;

struct sim_result {
	uint64_t requests, misses;
	uint64_t starts;
	double replica_s; /* loading or ready */
	double busy_s;	  /* those of them that it took to serve, at least */
	double idle_mb_s; /* memory of replicas that did nothing, loading
			     included */
	uint32_t most;	  /* replicas at once */
};

/* Adds to *sum. */
void sim_run(const struct sim_load *load, const struct sim_case *c,
	     const struct sim_policy *policy, struct sim_setting set,
	     struct sim_result *sum);
/* Who knows all that will come: serves each request at once, and keeps a
 * replica, or loads it in time, whichever takes fewer replica-seconds: each gap
 * costs min(gap, load). Adds to *sum. */
void sim_oracle(const struct sim_load *load, const struct sim_case *c,
		struct sim_result *sum);

#endif
