/*
 * How many requests a replica is sent at the same time.
 */
#include "core/mem.h"
#include "policy/balance.h"
#include "serve/replica_parts.h"

enum { BATCH_AT_FIRST = 8, STEADY_ANSWERS = 256 };

static const struct spec *spec_of(const struct replica *r)
{
	return r->rev->spec;
}

/* Most requests that one of its slots takes at a time. What learns the size
 * gets enough for the next larger ones, too. */
static uint32_t batch_of(const struct replica *r)
{
	uint32_t most = spec_of(r)->predictor.max_batch_size;

	if (!spec_of(r)->predictor.latency_target_ms)
		return most;
	return MIN(MAX(2 * r->batching.size, (uint32_t)BATCH_AT_FIRST), most);
}

/* This process's share of what its user says for the whole replica; 0: that is
 * nothing. The first ones take what is left over. */
static uint32_t share(const struct replica *r)
{
	uint32_t most = spec_of(r)->predictor.max_in_flight;
	uint32_t processes = MAX(spec_of(r)->predictor.processes, 1u);

	if (!most)
		return 0;
	return MAX(most / processes + (r->number < most % processes), 1u);
}

/* One of ours is sent what its user says, or what keeps its slots busy. */
static void set_room(struct replica *r)
{
	const struct spec *spec = spec_of(r);
	bool alone = spec->scale.min_replicas == spec->scale.max_replicas;
	uint64_t usual_ns = alone ? 0 : r->rev->api->scale.service_ns;
	uint32_t asked = share(r);
	const struct balance_process p = {
		.slots = r->slots,
		.batch = batch_of(r),
		.service_ns = MAX(r->service_ns, usual_ns),
		.pre_ns = r->work.told.pre_ns,
		.predict_ns = r->work.told.predict_ns,
		.alone = alone,
	};

	r->room = asked ? asked : balance_room(&p);
}

void replica__room_init(struct replica *r)
{
	if (!replica__is_ours(r)) {
		r->room = spec_of(r)->predictor.max_concurrency;
		return;
	}
	r->slots = spec_slots(spec_of(r));
	set_room(r);
}

void replica__room_learn(struct replica *r, struct str stages)
{
	struct tally told;

	if (!tally_read(&told, stages))
		return;
	work_told(&r->work, &told, uv_hrtime(), &r->rev->api->done);
	set_room(r);
	gate_flush(r->rev->api);
}

void replica__room_batching(struct replica *r, struct str batching)
{
	if (!batching_read(&r->batching, batching))
		return;
	set_room(r);
	gate_flush(r->rev->api);
}

/* Of one without a limit what answers tell; others say it. */
static uint32_t learn_at_once(struct replica *r, uint64_t took_ns,
			      uint32_t ahead)
{
	if (replica_slots(r))
		return replica_at_once(r);
	r->alone_ns = balance_alone(r->alone_ns, took_ns, ahead);
	r->together = balance_at_once(r->together, r->alone_ns, took_ns, ahead);
	return UINT32_MAX; /* nobody waited in it for another */
}

void replica_held(struct replica *r, uint64_t took_ns, uint32_t ahead)
{
	uint32_t at_once = learn_at_once(r, took_ns, ahead);

	scale_on_held(r->rev->api, balance_service(0, took_ns, ahead, at_once));
}

/* Where answers take microseconds, one halt of a second is as much as all that
 * the quick mean remembers. */
static void learn_steady(struct replica *r, uint64_t one_ns)
{
	int64_t more = (int64_t)one_ns - (int64_t)r->steady_ns;
	int64_t n = (int64_t)MIN(r->answers, (uint64_t)STEADY_ANSWERS);

	r->steady_ns = (uint64_t)((int64_t)r->steady_ns + more / n);
}

uint64_t replica_steady_ns(const struct replica *r)
{
	return MIN(r->service_ns, r->steady_ns);
}

void replica_answered(struct replica *r, uint64_t took_ns, uint32_t ahead)
{
	uint32_t slots = replica_slots(r);

	if (r->thawed_ns) {
		scale_on_thawed(r->rev->api, uv_hrtime() - r->thawed_ns);
		r->thawed_ns = 0;
	}
	if (!r->proved) {
		r->proved = true;
		if (cold_tier_is_forked(r->tier))
			r->rev->zygote.bad_forks = 0;
	}
	if (!slots)
		return;
	r->answers++;
	r->service_ns = balance_service(r->service_ns, took_ns, ahead, slots);
	learn_steady(r, balance_service(0, took_ns, ahead, slots));
	if (r->slots)
		set_room(r);
}

uint32_t replica_slots(const struct replica *r)
{
	return r->slots ? r->slots : r->room;
}

uint32_t replica_at_once(const struct replica *r)
{
	bool learns = spec_of(r)->predictor.latency_target_ms;
	uint32_t batch = learns ? r->batching.size
				: spec_of(r)->predictor.max_batch_size;

	if (r->slots)
		return r->slots * MAX(batch, 1u);
	return r->room ? r->room : MAX((uint32_t)(r->together + 0.5), 1u);
}

bool replica_is_suspicious(const struct replica *r)
{
	return replica__is_ours(r);
}

bool replica_frees_at_head(const struct replica *r)
{
	return replica__is_ours(r);
}
