/* How many requests a replica works on at the same time, by what is asked for.
 */
#include "core/mem.h"
#include "spec/spec.h"

uint32_t spec_slots(const struct spec *spec)
{
	bool batches = spec->predictor.type == PREDICTOR_PYTHON &&
		       spec->predictor.max_batch_size &&
		       !spec->predictor.latency_target_ms;

	return batches ? 1 : spec->predictor.threads;
}

uint32_t spec_at_once(const struct spec *spec)
{
	bool learns = spec->predictor.latency_target_ms;
	uint32_t n = spec->predictor.max_concurrency;

	if (spec->predictor.type != PREDICTOR_COMMAND)
		n = spec_slots(spec) *
		    (learns ? 1 : MAX(spec->predictor.max_batch_size, 1u));
	return MAX(n, 1u) * MAX(spec->predictor.processes, 1u);
}
