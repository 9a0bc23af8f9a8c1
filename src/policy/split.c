#include "policy/split.h"

#include <math.h>

/* Smooth weighted round robin: all earn their weight, the richest pays for
 * all. */
int split_next(struct split_target *targets, size_t n)
{
	int64_t total = 0;
	int best = SPLIT_NONE;

	for (size_t i = 0; i < n; i++) {
		struct split_target *t = &targets[i];

		if (!t->weight)
			continue;
		total += t->weight;
		t->credit += t->weight;
		if (best == SPLIT_NONE || t->credit > targets[best].credit)
			best = (int)i;
	}
	if (best != SPLIT_NONE)
		targets[best].credit -= total;
	return best;
}

/* Spreads what differs in few bits over all of them (murmur3's finish). */
static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

uint64_t split_hash(const char *text, size_t len)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
	return mix(h);
}

/* Weighted rendezvous: each target draws a time for the key, the earlier the
 * larger its weight, and the first has it. The times of a target change with
 * nobody's weight but its own. */
int split_sticky(const struct split_target *targets, size_t n, const char *key,
		 size_t len)
{
	uint64_t hash = split_hash(key, len);
	int best = SPLIT_NONE;
	double first = 0;

	for (size_t i = 0; i < n; i++) {
		const struct split_target *t = &targets[i];
		double draw, at;

		if (!t->weight)
			continue;
		/* Between 0 and 1, neither included. */
		draw = ((double)(mix(hash ^ t->seed) >> 12) + 0.5) / 0x1p52;
		at = -log(draw) / t->weight;
		if (best == SPLIT_NONE || at < first) {
			best = (int)i;
			first = at;
		}
	}
	return best;
}

bool split_copies(uint32_t *credit, uint32_t percent)
{
	*credit += percent;
	if (*credit < 100)
		return false;
	*credit -= 100;
	return true;
}
