#include "fetch/ranges.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

void ranges_fini(struct ranges *r)
{
	free(r->at);
	*r = (struct ranges){0};
}

/* The first that ends at or behind `from`. */
static size_t find(const struct ranges *r, uint64_t from)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->at[mid].to < from)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void ranges_add(struct ranges *r, uint64_t from, uint64_t to)
{
	size_t first = find(r, from), last = first;

	if (from >= to)
		return;
	/* Those that touch it become one with it. */
	while (last < r->n && r->at[last].from <= to) {
		from = MIN(from, r->at[last].from);
		to = MAX(to, r->at[last].to);
		last++;
	}
	if (last == first) {
		if (r->n == r->cap) {
			r->cap = r->cap ? 2 * r->cap : 8;
			r->at = mem_grow(r->at, r->cap * sizeof *r->at);
		}
		memmove(&r->at[first + 1], &r->at[first],
			(r->n - first) * sizeof *r->at);
		r->n++;
	} else {
		memmove(&r->at[first + 1], &r->at[last],
			(r->n - last) * sizeof *r->at);
		r->n -= last - first - 1;
	}
	r->at[first] = (struct range){from, to};
}

uint64_t ranges_total(const struct ranges *r)
{
	uint64_t total = 0;

	for (size_t i = 0; i < r->n; i++)
		total += r->at[i].to - r->at[i].from;
	return total;
}

uint64_t ranges_front(const struct ranges *r)
{
	return r->n > 0 && r->at[0].from == 0 ? r->at[0].to : 0;
}

struct range ranges_gap(const struct ranges *r, uint64_t from, uint64_t end)
{
	struct range gap = {from, end};

	for (size_t i = find(r, from); i < r->n; i++) {
		if (r->at[i].from > gap.from) {
			gap.to = MIN(r->at[i].from, end);
			break;
		}
		gap.from = MAX(gap.from, r->at[i].to);
	}
	if (gap.from >= gap.to || gap.from >= end)
		gap.from = gap.to = end;
	return gap;
}
