/* load.h: what arrives in a simulation, and how long it takes. */
#ifndef SIM_LOAD_H
#define SIM_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/* The requests of one api, by arrival. Times in ns. */
struct sim_load {
	char *name;	  /* owned */
	size_t n;	  /* requests */
	uint64_t *at;	  /* owned: since the beginning, ascending */
	uint64_t *takes;  /* owned: how long each holds a slot, 1 or more */
	double mem_mb;	  /* of a replica; 0: not known */
	uint64_t horizon; /* the trace's end */
};

struct sim_loads {
	struct sim_load *all; /* owned */
	size_t n;
};

/* Reads a trace. path is
 *  - FILE_inv.csv of the Azure Functions trace of 2019, FILE_run.csv beside
 *    it and, if it is there, FILE_mem.csv: requests per minute, which become
 *    arrivals spread evenly at random over their minute, and percentiles of
 *    the time that they take;
 *  - a CSV file of the Azure LLM trace of 2023 (TIMESTAMP, ContextTokens,
 *    GeneratedTokens): arrivals as they were;
 *  - a CSV file of recorded traffic (time,api,seconds): arrivals as they were;
 *  - the access log of a daemon (DATA/logs/access.jsonl): what was answered
 *    below 400, each api by the first part of its path, arrivals as they were,
 *    and how long each request took in all for the time that it holds a slot.
 * Each may be packed with gzip and end in .gz. seed: of all that is drawn: the
 * same makes the same. */
int sim_read(struct sim_loads *loads, const char *path, uint64_t seed,
	     struct err *err);
void sim_loads_fini(struct sim_loads *loads);

/* A request of the LLM trace takes 0.2 ms for each token that it brings and
 * 25 ms for each that it gets. */
#define SIM_LLM_CONTEXT_NS 200000ull
#define SIM_LLM_TOKEN_NS 25000000ull

#endif
