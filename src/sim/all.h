/* all.h: a policy over many apis. */
#ifndef SIM_ALL_H
#define SIM_ALL_H

#include "sim/run.h"

/* Which of the apis: those whose name has an even hash, which settings were
 * tuned with, the others, on which they are reported, or all. */
enum sim_half { SIM_ALL, SIM_TUNE, SIM_REPORT };

/* policy NULL: the oracle. Runs on as many threads as there are processors; the
 * result does not depend on how many. */
struct sim_result sim_all(const struct sim_loads *loads, enum sim_half half,
			  const struct sim_case *c,
			  const struct sim_policy *policy,
			  struct sim_setting set);
/* How many apis that are. */
size_t sim_count(const struct sim_loads *loads, enum sim_half half);

#endif
