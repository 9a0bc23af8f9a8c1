/*
 * Which replica gets a request.
 */
#include "policy/balance.h"
#include "serve/gate_parts.h"
#include "serve/replica.h"
#include "serve/serve.h"

enum { REPLICAS_MAX = 1024 };

uint32_t gate__place_of(const struct replica *r)
{
	return (r->index << 8) + r->number + 1;
}

/* Which of a process's requests has killed it nobody knows, so each that may
 * run again does so alone: the one that kills again is found, and takes nobody
 * along. */
static bool keeps_apart(const struct replica *r, const struct waiter *w)
{
	return r->alone || (w->suspect && r->placed);
}

/* While somebody waits who is to go alone, and nobody does now, the replica
 * with the least to do takes no others: it has nothing else soon. */
static const struct replica *kept_for_suspects(struct revision *rev,
					       const struct waiter *w)
{
	const struct replica *least = NULL;
	struct list *it, *tmp;

	if (w->suspect || list_empty(&w->api->gate.suspects))
		return NULL;
	LIST_EACH (&rev->replicas, it, tmp) {
		const struct replica *r = LIST_ENTRY(it, struct replica, link);

		if (r->alone)
			return NULL;
		if (replica_is_ready(r) &&
		    (!least || r->placed < least->placed))
			least = r;
	}
	return least;
}

struct replica *gate__pick(struct api *a, const struct waiter *w)
{
	struct revision *rev = gate_serving(a);
	uint64_t now = uv_now(a->serve->loop);
	static _Thread_local struct balance_item items[REPLICAS_MAX];
	static _Thread_local struct replica *replicas[REPLICAS_MAX];
	const struct replica *kept;
	struct list *it, *tmp;
	size_t n = 0;
	int skip = -1, chosen;

	if (!rev)
		return NULL;
	kept = kept_for_suspects(rev, w);
	LIST_EACH (&rev->replicas, it, tmp) {
		struct replica *r = LIST_ENTRY(it, struct replica, link);

		if (n == REPLICAS_MAX)
			break;
		if (w->skip_id == gate__place_of(r))
			skip = (int)n;
		items[n].ready = replica_is_ready(r) && r->hold_until <= now &&
				 !keeps_apart(r, w) && r != kept &&
				 (!r->yielding || w->lease);
		items[n].in_flight = r->placed - MIN(r->placed, r->released) +
				     r->elders_placed;
		items[n].room = r->room;
		replicas[n++] = r;
	}
	if (!n)
		return NULL;
	chosen = balance_pick(items, n, a->gate.last, skip);
	if (chosen < 0)
		return NULL;
	a->gate.last = (size_t)chosen;
	return replicas[chosen];
}
