#include "policy/balance.h"

#include <math.h>

#include "core/mem.h"

enum {
	WORTH_A_TRIP_NS = 1000000, /* of work that may lie ahead of a slot */
	AHEAD_MAX = 32,		   /* requests of it */
	LONG_NS = 10000000,	   /* a hundred trips between processes */
	PRE_MAX = 1024,		   /* requests in pre_predict */
};

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

uint64_t balance_service(uint64_t so_far_ns, uint64_t took_ns, uint32_t ahead,
			 uint32_t slots)
{
	/* What stood before it took its share of the time. */
	uint64_t one = took_ns / MAX(ahead, 1u) * MIN(slots, MAX(ahead, 1u));

	return so_far_ns ? so_far_ns - so_far_ns / 16 + one / 16 : one;
}

double balance_at_once(double so_far, uint64_t alone_ns, uint64_t took_ns,
		       uint32_t ahead)
{
	double one = (double)ahead * (double)alone_ns /
		     (double)MAX(took_ns, (uint64_t)1);

	if (took_ns <= alone_ns + alone_ns / 4)
		one *= 2;
	one = fmax(one, 1);
	return so_far > 0 ? so_far + (one - so_far) / 16 : one;
}

uint64_t balance_alone(uint64_t so_far_ns, uint64_t took_ns, uint32_t ahead)
{
	if (!so_far_ns || took_ns < so_far_ns)
		return took_ns;
	return ahead > 1 ? so_far_ns : so_far_ns + (took_ns - so_far_ns) / 16;
}

/* Requests on their way to the slots: as many as these take meanwhile. */
static uint32_t in_pre(const struct balance_process *p)
{
	uint64_t taken = (uint64_t)p->slots * MAX(p->batch, 1u);

	if (!p->pre_ns || !p->predict_ns)
		return 0;
	return (uint32_t)MIN(
		ceil((double)taken * (double)p->pre_ns / (double)p->predict_ns),
		(double)PRE_MAX);
}

/* Who lies behind another has to stay there, however long that takes. */
static bool is_worth_a_trip(const struct balance_process *p)
{
	bool is_long = !p->service_ns || p->service_ns >= LONG_NS;

	return is_long && !p->alone && !p->batch && !p->pre_ns;
}

uint32_t balance_room(const struct balance_process *p)
{
	uint64_t ahead = p->service_ns ? WORTH_A_TRIP_NS / p->service_ns : 0;
	uint32_t slots = p->slots, single;

	if (is_worth_a_trip(p))
		return slots;
	single = slots + MAX(MAX(slots, 2u),
			     slots * (uint32_t)MIN(ahead, (uint64_t)AHEAD_MAX));
	return MAX(single, (slots + 1) * p->batch) + in_pre(p);
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
