#include "cli/simulate_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "core/mem.h"
#include "loop/file.h"

int simulate_config_read(struct spec_set *set, const char *path)
{
	cleanup_free char *text = NULL;
	struct err err = {0};
	size_t len = 0;

	*set = (struct spec_set){.specs = NULL};
	if (file_read(path, SPEC_MAX_BYTES, &text, &len, &err)) {
		fprintf(stderr, "soma simulate: %s\n", err.msg);
		return CLI_USAGE;
	}
	if (!spec_parse(set, path, text, len, NULL))
		return CLI_OK;
	for (uint32_t i = 0; i < set->n_problems; i++)
		if (set->problems[i].level == PROBLEM_ERROR)
			fprintf(stderr, "error: %s\n",
				spec_problem_line(set, path,
						  &set->problems[i]));
	return CLI_CONFIG;
}

void simulate_config_apply(const struct spec *spec, struct sim_case *c,
			   struct sim_setting *ret)
{
	c->patience = spec->scale.max_wait_ms * UINT64_C(1000000);
	c->slots = spec_at_once(spec);
	c->min = spec->scale.min_replicas;
	c->max = spec->scale.max_replicas;
	ret->knob = spec->scale.wait_worth;
	ret->keep = spec->scale.keep_idle_ms / 1000.0;
}
