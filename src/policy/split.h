/* split.h: which target of a splitter has a request, exact over time. */
#ifndef POLICY_SPLIT_H
#define POLICY_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPLIT_NONE = -1 };

struct split_target {
	uint32_t weight; /* percent; 0: has none */
	uint64_t seed;	 /* split_hash of its name */
	int64_t credit;	 /* private */
};

/* Each by its weight, evenly mixed: after every run as long as the sum of the
 * weights the shares are exact, and on the way no target is off by more than
 * one request for each other target. SPLIT_NONE: all weights are 0. */
int split_next(struct split_target *targets, size_t n);

/* The same target for the same key as long as the weights stay. A change of
 * weights moves no key between two targets neither of which has changed its
 * share of the two together, and no more of the others than it must. */
int split_sticky(const struct split_target *targets, size_t n, const char *key,
		 size_t len);

/* Whether this one is among `percent` of all, evenly spread. *credit: 0 to
 * begin with. */
bool split_copies(uint32_t *credit, uint32_t percent);

uint64_t split_hash(const char *text, size_t len);

#endif
