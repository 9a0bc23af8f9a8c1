/* load_parts.h: one reader per kind of trace. Each is given a file whose first
 * line has been read. */
#ifndef SIM_LOAD_PARTS_H
#define SIM_LOAD_PARTS_H

#include "sim/csv.h"
#include "sim/load.h"

int sim__read_azure(struct sim_loads *loads, struct csv *c, uint64_t seed,
		    struct err *err);
int sim__read_llm(struct sim_loads *loads, struct csv *c, struct err *err);
int sim__read_recorded(struct sim_loads *loads, struct csv *c, struct err *err);
int sim__read_log(struct sim_loads *loads, struct csv *c, struct err *err);

/* Another one, with room for n requests. */
struct sim_load *sim__load_add(struct sim_loads *loads, struct str name,
			       size_t n);
/* A request more, of one that was added without any: seconds. *cap is its room,
 * 0 at first. */
void sim__load_put(struct sim_load *l, size_t *cap, double at, double takes);

#endif
