/* batching.h: what a replica that learns the size of its batches says of them
 * (BATCHING). It runs its user's code: each number is bounded. */
#ifndef SERVE_BATCHING_H
#define SERVE_BATCHING_H

#include <stdbool.h>
#include <stdint.h>

#include "core/json.h"
#include "core/str.h"
#include "policy/curve.h"

struct spec;

struct batching {
	uint32_t size; /* the most that batches have now; 0: it has not said */
	uint32_t n;
	struct {
		uint32_t size;
		uint64_t mean_ns, p99_ns; /* of a batch */
	} points[CURVE_CLASSES];	  /* by size */
};

/* False, and nothing is changed, for what is no JSON object. A point that makes
 * no sense, or is not larger than the one before it, is left out. */
bool batching_read(struct batching *ret, struct str payload);
/* "batching" of the replica's JSON, or null. */
void batching_put(yyjson_mut_doc *doc, yyjson_mut_val *to,
		  const struct batching *b, const struct spec *spec);

#endif
