/*
 * How many requests a replica is sent at the same time.
 */
#include "policy/balance.h"
#include "serve/replica_parts.h"

static const struct spec *spec_of(const struct replica *r)
{
	return r->rev->spec;
}

/* One of ours is sent what its user says, or what keeps its slots busy. */
static void set_room(struct replica *r)
{
	uint32_t asked = spec_of(r)->predictor.max_in_flight;
	const struct balance_process p = {
		.slots = r->slots,
		.batch = spec_of(r)->predictor.max_batch_size,
		.service_ns = r->service_ns,
		.pre_ns = r->work.told.pre_ns,
		.predict_ns = r->work.told.predict_ns,
	};

	r->room = asked ? asked : balance_room(&p);
}

/* A class that batches runs one batch at a time: its threads are those of the
 * requests that wait. */
static uint32_t slots_of(const struct spec *spec)
{
	bool batches = spec->predictor.type == PREDICTOR_PYTHON &&
		       spec->predictor.max_batch_size;

	return batches ? 1 : spec->predictor.threads;
}

void replica__room_init(struct replica *r)
{
	if (!replica__is_ours(r)) {
		r->room = spec_of(r)->predictor.max_concurrency;
		return;
	}
	r->slots = slots_of(spec_of(r));
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

void replica_answered(struct replica *r, uint64_t took_ns, uint32_t ahead)
{
	uint32_t slots = replica_slots(r);

	if (!slots)
		return;
	r->service_ns = balance_service(r->service_ns, took_ns, ahead, slots);
	if (r->slots)
		set_room(r);
}

uint32_t replica_slots(const struct replica *r)
{
	return r->slots ? r->slots : r->room;
}

bool replica_is_suspicious(const struct replica *r)
{
	return replica__is_ours(r);
}

bool replica_frees_at_head(const struct replica *r)
{
	return replica__is_ours(r);
}
