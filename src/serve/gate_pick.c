/*
 * Which replica gets a request, and how that ended there.
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

/* Those that may take requests: the replicas of the revision that serves, and
 * of a new one that shares them. Returns how many. */
static size_t candidates(const struct api *a, struct replica **ret)
{
	struct revision *of[] = {gate_serving(a), rollout_beside(a)};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(of); i++) {
		struct replica *r = NULL;

		while (of[i] && n < REPLICAS_MAX &&
		       (r = replica_next(&of[i]->replicas, r)))
			ret[n++] = r;
	}
	return n;
}

bool gate__any_ready(const struct api *a)
{
	const struct revision *rev = gate_serving(a);
	const struct revision *beside = rollout_beside(a);

	return (rev && revision_any_ready(rev)) ||
	       (beside && revision_any_ready(beside));
}

/* While somebody waits who is to go alone, and nobody does now, the replica
 * with the least to do takes no others: it has nothing else soon. */
static const struct replica *kept_for_suspects(struct replica *const *replicas,
					       size_t n, const struct waiter *w)
{
	const struct replica *least = NULL;

	if (w->suspect || list_empty(&w->api->gate.suspects))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		const struct replica *r = replicas[i];

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
	uint64_t now = uv_now(a->serve->loop);
	static _Thread_local struct balance_item items[REPLICAS_MAX];
	static _Thread_local struct replica *replicas[REPLICAS_MAX];
	size_t n = candidates(a, replicas);
	const struct replica *kept = kept_for_suspects(replicas, n, w);
	int skip = -1, chosen;

	for (size_t i = 0; i < n; i++) {
		const struct replica *r = replicas[i];

		if (w->skip_id == gate__place_of(r))
			skip = (int)i;
		items[i].ready = replica_is_ready(r) && r->hold_until <= now &&
				 !keeps_apart(r, w) && r != kept &&
				 (!r->yielding || w->lease);
		items[i].in_flight = r->placed - MIN(r->placed, r->released) +
				     r->elders_placed;
		items[i].room = r->room;
	}
	if (!n)
		return NULL;
	chosen = balance_pick(items, n, a->gate.last, skip);
	if (chosen < 0)
		return NULL;
	a->gate.last = (size_t)chosen;
	return replicas[chosen];
}

/* What a newer version could have done better. */
static bool is_failure(const struct waiter *w, enum http_proxy_end end)
{
	switch (end) {
	case PROXY_DONE:
		return w->req->status >= 500;
	case PROXY_CUT:
	case PROXY_DIED:
	case PROXY_BAD_RESPONSE:
		return true;
	case PROXY_CANCELED:
		return !w->limit_is_wish;
	default:
		return false;
	}
}

void gate__count(const struct waiter *w, const struct replica *r,
		 enum http_proxy_end end)
{
	/* One that is gone may have outlived its revision. Others never were
	 * with it, or nobody knows how they would have ended. */
	if (r->state != REPLICA_GONE && end != PROXY_GONE &&
	    end != PROXY_NO_CONNECT && end != PROXY_NOT_BEGUN)
		rollout_answered(r->rev, is_failure(w, end));
}
