#include "policy/balance.h"

#include "core/mem.h"

static bool has_room(const struct balance_item *item)
{
	return item->ready && (!item->room || item->in_flight < item->room);
}

int balance_pick(const struct balance_item *items, size_t n, size_t last,
		 int skip)
{
	int best = -1;

	for (size_t turn = 1; turn <= n; turn++) {
		size_t i = (last + turn) % n;

		if (!has_room(&items[i]) || (int)i == skip)
			continue;
		if (best < 0 || items[i].in_flight < items[best].in_flight)
			best = (int)i;
	}
	if (best < 0 && skip >= 0 && (size_t)skip < n && has_room(&items[skip]))
		best = skip;
	return best;
}

uint32_t balance_room(uint32_t slots)
{
	return slots + MAX(slots, 2u);
}

bool balance_admit(uint64_t in_flight, uint32_t replicas,
		   uint32_t max_replica_concurrency)
{
	uint64_t most = (uint64_t)MAX(replicas, 1u) * max_replica_concurrency;

	return in_flight < most;
}

bool repeat_allowed(const struct repeat_facts *f)
{
	return f->body_kept &&
	       (f->idempotent_method || f->idempotency_key || f->retry_safe);
}
