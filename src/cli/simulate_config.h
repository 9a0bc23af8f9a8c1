/* simulate_config.h: what a config file says of its apis, for a simulation. */
#ifndef CLI_SIMULATE_CONFIG_H
#define CLI_SIMULATE_CONFIG_H

#include "sim/run.h"
#include "spec/spec.h"

/* Reads the file; what is wrong with it goes to standard error. Always leaves a
 * set for spec_set_fini. Returns an exit code of the CLI's. */
int simulate_config_read(struct spec_set *set, const char *path);

/* The settings of one of its apis; *ret: its wait_worth and
 * keep_idle. */
void simulate_config_apply(const struct spec *spec, struct sim_case *c,
			   struct sim_setting *ret);

#endif
