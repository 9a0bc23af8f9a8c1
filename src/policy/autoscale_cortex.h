/* autoscale_cortex.h: how many replicas Cortex would ask for, by its own
 * formulas (0.25 to 0.42; the last one's stabilisation), for those whose
 * settings were made for it.
 *
 * A tick every 10 s gets the requests in flight, averaged over `window`:
 *
 *   raw = in flight / target;  rec = ceil(raw)
 *   within the tolerances around cur, what was asked for before: rec = cur
 *   rec >= min(cur - 1, ceil(cur * max_downscale_factor))
 *   rec <= max(cur + 1, ceil(cur * max_upscale_factor))
 *   rec between min_replicas and max_replicas
 *   fewer than cur: the most that was recommended in the downscale
 *   stabilisation period; more: the least of the upscale one. A period that has
 *   not passed since the beginning changes nothing. */
#ifndef POLICY_AUTOSCALE_CORTEX_H
#define POLICY_AUTOSCALE_CORTEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CORTEX_TICK_S = 10 };

struct cortex_rule {
	uint32_t min, max;
	double target; /* requests in flight that a replica is to have; > 0 */
	double max_downscale_factor, max_upscale_factor;
	double downscale_tolerance, upscale_tolerance;
	uint64_t downscale_period, upscale_period; /* ns */
};

struct cortex_said {
	uint64_t at;
	uint32_t replicas;
};

struct cortex_scale {
	/* private, 0 at first */
	struct cortex_said *said; /* owned; the oldest first */
	size_t n_said, cap_said;
	uint64_t began;
	bool begun;
};

void cortex_scale_fini(struct cortex_scale *c);
/* A tick: how many are asked for from now on. cur: as asked for so far;
 * in_flight: averaged. now: ns. */
uint32_t cortex_scale(struct cortex_scale *c, const struct cortex_rule *rule,
		      uint64_t now, uint32_t cur, double in_flight);
/* A request has come while none was asked for: one is, from now on, and the
 * ticks to come know. */
void cortex_awaken(struct cortex_scale *c, uint64_t now);

#endif
