/* frozen.c: which replicas are worth being kept frozen. Together with the
 * zygotes they have a limit (the setting warm_memory), and the zygotes come
 * first: the replica that saves the least ends first,
 *
 *     saved = time that letting it run is faster than a start
 *             / time between uses / how many of its revision there are
 *
 * per byte. */
#include "serve/frozen.h"

#include <float.h>

#include "core/mem.h"
#include "loop/log.h"
#include "serve/replica_parts.h"

enum {
	GUESS_BYTES = 64 << 20, /* nothing is known of it */
	GUESS_GAP_MS = 60 * 1000,
	GUESS_SAVED_MS = 100,
};

static void used(struct revision *rev)
{
	struct frozen *f = &rev->frozen;
	uint64_t now = uv_now(rev->api->serve->loop);

	f->gap_ms = f->used_at ? now - f->used_at : GUESS_GAP_MS;
	f->used_at = now;
}

/* Milliseconds saved per millisecond and byte by the n-th of a revision. */
static double worth(const struct revision *rev, unsigned n, uint64_t bytes)
{
	const struct scale_load *loads = rev->api->scale.loads;
	const struct frozen *f = &rev->frozen;
	uint64_t now = uv_now(rev->api->serve->loop);
	uint64_t start = loads[scale_start_tier(rev)].mean_ns;
	uint64_t thaw = loads[COLD_FROZEN].mean_ns;
	uint64_t gap = MAX(f->gap_ms, f->used_at ? now - f->used_at : 0);
	double saved = start > thaw ? (double)(start - thaw) / 1e6
				    : (double)GUESS_SAVED_MS;

	return saved / (double)MAX(gap, (uint64_t)1) / MAX(n, 1u) /
	       (double)bytes;
}

static uint64_t bytes_of(const struct revision *rev)
{
	return rev->measure.bytes ? rev->measure.bytes : (uint64_t)GUESS_BYTES;
}

static struct revision *least_worth(const struct serve *s, double *ret_worth)
{
	struct revision *least = NULL;
	const struct api *a;

	*ret_worth = DBL_MAX;
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		for (const struct list *it = a->revisions.next;
		     it != &a->revisions; it = it->next) {
			struct revision *rev =
				CONTAINER_OF((struct list *)(uintptr_t)it,
					     struct revision, link);
			double w;

			if (!rev->frozen.n)
				continue;
			w = worth(rev, rev->frozen.n, rev->frozen.bytes);
			if (w >= *ret_worth)
				continue;
			least = rev;
			*ret_worth = w;
		}
	}
	return least;
}

/* It is none of them any more. */
static void uncount(struct revision *rev)
{
	rev->api->serve->frozen_bytes -= rev->frozen.bytes;
	rev->frozen.n--;
}

static void let_go(struct replica *r)
{
	uncount(r->rev);
	replica_leave(r, r->rev->spec->grace_ms);
}

/* The one that was frozen first. */
static void make_room(struct revision *rev)
{
	struct replica *r =
		LIST_ENTRY(rev->frozen.replicas.prev, struct replica, link);

	log_info(LOG_F(F_S("api", rev->api->name), F_S("replica", r->id),
		       F_I("bytes", rev->frozen.bytes)),
		 "a frozen replica makes room for others");
	let_go(r);
}

bool frozen_give_way(struct serve *s)
{
	double of_least;
	struct revision *least = least_worth(s, &of_least);

	if (least)
		make_room(least);
	return least;
}

void frozen_enforce(struct serve *s)
{
	while (s->zygote_bytes + s->frozen_bytes > s->warm_limit &&
	       frozen_give_way(s))
		;
}

/* Room is made by those that are worth less. */
static bool admit(struct revision *rev, uint64_t bytes)
{
	struct serve *s = rev->api->serve;
	double mine = worth(rev, rev->frozen.n + 1, bytes);

	while (s->zygote_bytes + s->frozen_bytes + bytes > s->warm_limit) {
		double of_least;
		struct revision *least = least_worth(s, &of_least);

		if (!least || of_least >= mine)
			return false;
		make_room(least);
	}
	return true;
}

/* auto: where a start takes longer, which a fork after __init__ does not, be
 * its zygote there or on its way. */
static bool is_of_use(const struct revision *rev)
{
	const struct zygote *z = &rev->zygote;

	switch (rev->spec->predictor.freeze) {
	case FREEZE_ALWAYS:
		return true;
	case FREEZE_AUTO:
		return !zygote_may_be(z) || zygote_tier(z) != COLD_ZYGOTE_INIT;
	case FREEZE_NEVER:
		break;
	}
	return false;
}

bool frozen_keep(struct revision *rev, unsigned index)
{
	struct frozen *f = &rev->frozen;
	struct replica *r = revision_find(rev, index, 0);

	/* Of several processes each would have to be let run for one. */
	if (rev->spec->predictor.processes > 1 || rev->state != REVISION_LIVE ||
	    gate_serving(rev->api) != rev || rollout_is_on(rev->api) ||
	    rev->api->deleting || !is_of_use(rev) || !replica_may_freeze(r))
		return false;
	used(rev);
	if (!admit(rev, f->n ? f->bytes : bytes_of(rev)))
		return false;
	/* All are counted alike, by what was known at the first. */
	if (!f->n)
		f->bytes = bytes_of(rev);
	f->n++;
	rev->api->serve->frozen_bytes += f->bytes;
	replica_freeze(r);
	return true;
}

struct replica *frozen_take(struct revision *rev)
{
	struct replica *r;

	if (!rev->frozen.n)
		return NULL;
	r = LIST_ENTRY(rev->frozen.replicas.next, struct replica, link);
	used(rev);
	uncount(rev);
	list_remove(&r->link);
	replica_thaw(r);
	return r;
}

void frozen_on_gone(struct replica *r)
{
	uncount(r->rev);
}

void frozen_leave(struct revision *rev)
{
	while (rev->frozen.n)
		let_go(LIST_ENTRY(rev->frozen.replicas.next, struct replica,
				  link));
}
