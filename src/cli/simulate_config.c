#include "cli/simulate_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
			   double *ret_worth)
{
	bool batches = spec->predictor.max_batch_size &&
		       !spec->predictor.latency_target_ms;
	uint32_t slots = spec->predictor.processes;

	/* As many as a replica takes at once: serve/room.c. */
	if (spec->predictor.type == PREDICTOR_COMMAND)
		slots = spec->predictor.max_concurrency;
	else if (!batches || spec->predictor.type != PREDICTOR_PYTHON)
		slots *= spec->predictor.threads;
	if (batches && spec->predictor.type != PREDICTOR_COMMAND)
		slots *= spec->predictor.max_batch_size;
	c->patience = spec->scale.max_wait_ms * UINT64_C(1000000);
	c->slots = MAX(slots, 1u);
	c->min = spec->scale.min_replicas;
	c->max = spec->scale.max_replicas;
	*ret_worth = spec->scale.wait_worth;
}
