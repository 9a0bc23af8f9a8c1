/*
 * What policy is told of memory, and who holds it.
 */
#include "core/mem.h"
#include "serve/memory.h"
#include "serve/serve.h"
#include "serve/swap_parts.h"

static const uint64_t MS = 1000000;
enum { AWAITED_MS = 2000 };
static const double LOAD_GUESS_S = 5; /* of a start, while none was seen */

/* Half a second at least: below that, starting and ending is all that is done.
 * And as long as it takes to load, so that that is no more than half. A client
 * that has not sent its next request within a tenth of a second is busy with
 * something else. */
const struct swap_rule swap__rule = {
	.dwell = 500 * UINT64_C(1000000),
	.loads = 1,
	.lull = 100 * UINT64_C(1000000),
	.look = 20 * UINT64_C(1000000),
};

struct revision *swap__revision(const struct api *a)
{
	struct revision *live = gate_serving(a);

	/* A rollout takes the room of what serves, if that has any; and
	 * requests come before it. */
	if (!live || !a->want || a->want == live || revision_places(live) ||
	    (live->starving && a->gate.queued))
		return live;
	return a->want;
}

unsigned swap_kept(const struct revision *rev)
{
	return rev->api->scale.asleep ? 0
				      : MAX(rev->spec->scale.min_replicas,
					    scale_least(rev->api));
}

/* Who was told to come again comes about when it is ready. */
static bool is_awaited(const struct revision *rev, uint64_t now)
{
	bool in = revision_any_ready(rev);

	return scale_is_awaited(rev->api) && !rev->api->scale.asleep &&
	       (!in || now < rev->in_ns + AWAITED_MS * MS);
}

/* The same, with those that stay for a while: that is no reason to refuse
 * anybody. */
static unsigned stay_now(const struct revision *rev, uint64_t now)
{
	const struct revision *want = rev->api->want;

	/* A rollout needs it until it is through, or has failed. */
	if (want != rev && want->state == REVISION_UPDATING)
		return UINT32_MAX;
	return MAX(swap_kept(rev), (unsigned)is_awaited(rev, now));
}

static void look_out(struct swap_model *m, const struct revision *rev,
		     const struct revision *asking, uint64_t now)
{
	const struct api *a = rev->api;
	struct memory_need need = memory_need(rev);
	bool claims =
		(rev->starving || rev == asking) && !revision_is_refused(rev);

	m->holds = memory_leaving(rev);
	m->state = m->holds ? SWAP_LEAVING : SWAP_OUT;
	m->need = need.own + need.shared;
	if (!claims)
		return;
	m->waiting = a->gate.queued;
	/* A short request_timeout is no reason to stay behind: its requests
	 * go, and others come, but it has lacked memory since. */
	if (rev->starving)
		m->oldest = now - MIN(rev->starving_ns, now);
	m->oldest = MAX(m->oldest, gate_oldest_ns(&a->gate, now));
	/* Nobody waits, but it is to be there. */
	if (!m->waiting)
		m->waiting = rev->state != REVISION_LIVE || stay_now(rev, now);
}

static void look_loading(struct swap_model *m, const struct revision *rev,
			 unsigned places, unsigned ready)
{
	struct memory_need need = memory_need(rev);

	m->state = SWAP_LOADING;
	m->need = need.own * (places - ready) + (ready ? 0 : need.shared);
	m->holds = MIN(memory_loading(rev).taken, m->need);
}

static void look_in(struct swap_model *m, const struct revision *rev,
		    unsigned places)
{
	struct revision_place next = revision_next_to_go(rev);
	struct memory_need need = memory_need(rev);

	m->state = SWAP_IN;
	m->need = need.own;
	m->holds = need.own + (places == 1 ? need.shared : 0);
	m->in_flight = next.in_flight;
	m->yielding = next.yield_ns;
	m->yield_since = next.yield_ns;
	m->spared_since = rev->spared_ns;
	m->waiting = rev->api->gate.queued;
	if (places == 1) {
		m->leases = rev->api->gate.leases;
		return;
	}
	/* What one was loaded for the others run as well. One of several that
	 * has nothing to do is one too many now, while requests come: it has
	 * been worth its loading when its dwell is over. */
	m->idle_since =
		m->in_since + swap_dwell(m, &swap__rule) - swap__rule.lull;
}

static struct swap_model look_at(const struct revision *rev,
				 const struct revision *asking, uint64_t now)
{
	const struct api *a = rev->api;
	unsigned places = revision_places(rev) - revision_resting(rev);
	unsigned ready = revision_ready(rev);
	uint64_t load_ns = scale_load_ns(rev);
	struct swap_model m = {
		.patience = rev->spec->scale.max_wait_ms * MS,
		.in_since = rev->in_ns,
		.idle_since = MAX(a->came.at, a->gate.rests_ns),
		.reload = load_ns ? (double)load_ns / 1e9 : LOAD_GUESS_S,
		.per_s = swap_per_s(&a->came, now) / MAX(places, 1u),
	};

	if (!places)
		look_out(&m, rev, asking, now);
	else if (ready < places)
		look_loading(&m, rev, places, ready);
	else
		look_in(&m, rev, places);
	m.kept = places && places <= stay_now(rev, now);
	m.keeps = memory_of(rev, MIN(memory_places(rev), swap_kept(rev)));
	return m;
}

/* Of its other revisions, and of this one what leaves beside replicas. */
static void add_beside(struct swap_view *v, const struct api *a,
		       const struct revision *rev)
{
	for (const struct list *it = a->revisions.next; it != &a->revisions;
	     it = it->next) {
		const struct revision *each = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct revision, link);

		if (each != rev ||
		    revision_places(each) > revision_resting(each))
			v->leaving += memory_leaving(each);
		if (each != rev)
			v->coming_in += memory_loading(each).left;
	}
}

/* What is neither reserved nor taken; of those that load policy knows what they
 * have still to take. */
static uint64_t free_now(const struct serve *s, const struct swap_look *l)
{
	uint64_t left = memory_unreserved(s), others = memory_giving_way(s);

	left -= MIN(others, left);
	left += l->view.coming_in;
	for (size_t i = 0; i < l->view.n; i++)
		if (l->models[i].state == SWAP_LOADING)
			left += l->models[i].need - l->models[i].holds;
	return MIN(left, memory_observed(s));
}

struct swap_look swap__look(struct serve *s, const struct revision *asking)
{
	struct swap_look l = {.view = {.now = uv_hrtime()}};
	struct api *a;

	l.models = mem_alloc((s->apis.len + 1) * sizeof *l.models);
	l.revs = mem_alloc((s->apis.len + 1) * sizeof(struct revision *));
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		struct revision *rev = swap__revision(a);

		add_beside(&l.view, a, a->deleting ? NULL : rev);
		if (!rev || a->deleting)
			continue;
		l.revs[l.view.n] = rev;
		l.models[l.view.n++] = look_at(rev, asking, l.view.now);
	}
	l.view.models = l.models;
	l.view.total = memory_total(s);
	l.view.free = free_now(s, &l);
	return l;
}

void swap__look_fini(struct swap_look *l)
{
	free(l->models);
	free(l->revs);
}

size_t swap__find(const struct swap_look *l, const struct revision *rev)
{
	for (size_t i = 0; i < l->view.n; i++)
		if (l->revs[i] == rev)
			return i;
	return SIZE_MAX;
}
