/*
 * The places of a revision, one for each of its replicas: counted and chosen.
 */
#include "core/mem.h"
#include "serve/revision_parts.h"
#include "serve/serve.h"

/* One of its replicas: what runs under one index. */
struct place {
	unsigned index;
	unsigned ready;	  /* processes */
	unsigned unready; /* deaths of theirs since any was ready */
	unsigned in_flight;
	unsigned answers; /* of those, that are on their way to clients */
	uint64_t yield_ns;
	bool rests; /* none runs: they are in back-off */
};

/* The place that begins at *at, which is then what comes behind it; false: it
 * was the end. */
static bool next_place(const struct revision *rev, const struct replica **at,
		       struct place *ret)
{
	const struct replica *r = *at;

	if (!r)
		return false;
	*ret = (struct place){.index = r->index, .rests = true};
	for (; r && r->index == ret->index;
	     r = replica_next(&rev->replicas, r)) {
		ret->ready += replica_is_ready(r);
		ret->unready += r->unready;
		ret->in_flight += r->in_flight + r->elders;
		ret->answers += r->in_flight - MIN(r->placed, r->in_flight);
		ret->yield_ns = MAX(ret->yield_ns, r->yield_ns);
		ret->rests = ret->rests && r->state == REPLICA_BACKOFF;
	}
	*at = r;
	return true;
}

unsigned revision_places(const struct revision *rev)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p;
	unsigned n = 0;

	while (next_place(rev, &at, &p))
		n++;
	return n;
}

unsigned revision_ready(const struct revision *rev)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p;
	unsigned n = 0;

	while (next_place(rev, &at, &p))
		n += p.ready == rev->spec->predictor.processes;
	return n;
}

unsigned revision_resting(const struct revision *rev)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p;
	unsigned n = 0;

	while (next_place(rev, &at, &p))
		n += p.rests;
	return n;
}

bool revision_loads(const struct revision *rev, unsigned index)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p;

	while (next_place(rev, &at, &p))
		if (p.index == index)
			return !p.rests &&
			       p.ready < rev->spec->predictor.processes;
	return false;
}

unsigned revision_answering(const struct revision *rev)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p;
	unsigned n = 0;

	while (next_place(rev, &at, &p))
		n += p.ready && p.answers;
	return n;
}

bool revision_any_ready(const struct revision *rev)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p = {.ready = 0};

	while (!p.ready && next_place(rev, &at, &p))
		;
	return p.ready > 0;
}

bool revision_is_failing(const struct revision *rev)
{
	const struct replica *r = NULL;

	while ((r = replica_next(&rev->replicas, r)))
		if (r->unready >= REPLICA_TRIES)
			return true;
	return false;
}

bool revision_is_dying(const struct revision *rev)
{
	const struct replica *r = NULL;

	while ((r = replica_next(&rev->replicas, r)))
		if (r->unready)
			return true;
	return false;
}

bool revision_cannot_start(const struct revision *rev)
{
	const struct replica *r = NULL;

	if (rev->blocked || revision_is_refused(rev))
		return !revision_any_ready(rev);
	while ((r = replica_next(&rev->replicas, r)))
		if (!r->hopeless)
			return false;
	return !list_empty(&rev->replicas);
}

uint64_t revision_again_ms(const struct revision *rev)
{
	uint64_t now = uv_now(rev->api->serve->loop), first = UINT64_MAX;
	const struct replica *r = NULL;

	if (rev->blocked)
		return model_set_again_ms(&rev->models);
	while ((r = replica_next(&rev->replicas, r))) {
		if (r->state == REPLICA_STARTING || r->state == REPLICA_IDLE)
			return 0;
		if (r->state == REPLICA_BACKOFF)
			first = MIN(first, r->again_at);
	}
	return first == UINT64_MAX ? 0 : MAX(first, now + 1) - now;
}

/* A is missed less than b. */
static bool is_missed_less(const struct place *a, const struct place *b)
{
	if (!a->ready != !b->ready)
		return !a->ready;
	if (!a->ready)
		return true;
	if (!a->answers != !b->answers)
		return !a->answers;
	return a->in_flight <= b->in_flight;
}

static struct place least_missed(const struct revision *rev)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p, least = {0};

	next_place(rev, &at, &least);
	while (next_place(rev, &at, &p))
		if (is_missed_less(&p, &least))
			least = p;
	return least;
}

unsigned revision__least_missed(const struct revision *rev)
{
	return least_missed(rev).index;
}

struct revision_place revision_next_to_go(const struct revision *rev)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p, next = {.rests = true};

	/* One that yields already is the one; one that rests has nothing that
	 * would come free. */
	while (next_place(rev, &at, &p)) {
		if (p.rests || next.yield_ns)
			continue;
		if (next.rests || p.yield_ns || is_missed_less(&p, &next))
			next = p;
	}
	return (struct revision_place){next.index, next.in_flight,
				       next.yield_ns};
}

bool revision__surplus(const struct revision *rev, unsigned *ret)
{
	const struct replica *at = replica_next(&rev->replicas, NULL);
	struct place p, most = {.ready = 0};
	unsigned n = 0;

	while (next_place(rev, &at, &p)) {
		if (!p.rests)
			continue;
		if (n++ && p.unready <= most.unready) {
			*ret = p.index;
			continue;
		}
		*ret = most.index;
		most = p;
	}
	return n > 1;
}
