/* ranges.h: which bytes of a file are there. */
#ifndef FETCH_RANGES_H
#define FETCH_RANGES_H

#include <stddef.h>
#include <stdint.h>

struct range {
	uint64_t from, to; /* [from, to) */
};

/* Sorted, apart from each other by a byte at least. Zeroed it is empty. */
struct ranges {
	struct range *at; /* owned */
	size_t n, cap;
};

void ranges_fini(struct ranges *r); /* leaves it empty */
void ranges_add(struct ranges *r, uint64_t from, uint64_t to);
uint64_t ranges_total(const struct ranges *r);
/* How far it goes without a gap from the first byte on. */
uint64_t ranges_front(const struct ranges *r);
/* The first gap at or behind `from` and before `end`; empty (from == to) where
 * there is none. */
struct range ranges_gap(const struct ranges *r, uint64_t from, uint64_t end);

#endif
