/*
 * What policy is told of an api.
 */
#include "core/mem.h"
#include "serve/scale_parts.h"
#include "serve/serve.h"

enum { LOAD_GUESS_MS = 5000 }; /* of a start, while none was seen */

enum cold_tier scale_start_tier(const struct revision *rev)
{
	return zygote_process(&rev->zygote) ? zygote_tier(&rev->zygote)
					    : COLD_PROCESS;
}

enum cold_tier scale_next_tier(const struct revision *rev)
{
	return rev->frozen.n ? COLD_FROZEN : scale_start_tier(rev);
}

uint64_t scale_load_ns(const struct revision *rev)
{
	const struct scale_load *loads = rev->api->scale.loads;
	enum cold_tier tier = scale_next_tier(rev);

	/* What saves a start takes no longer than one. */
	return loads[tier].mean_ns ? loads[tier].mean_ns
				   : loads[COLD_PROCESS].mean_ns;
}

uint32_t scale__at_once(const struct revision *rev)
{
	return rev->at_once ? rev->at_once : spec_at_once(rev->spec);
}

/* Of the processes that are ready. */
struct ready {
	uint64_t processes;
	uint64_t at_once; /* requests of all */
};

static void add_ready(struct ready *sum, const struct replica *r)
{
	sum->processes++;
	sum->at_once += replica_at_once(r);
}

struct scale_view scale__look(struct api *a, struct revision *rev)
{
	struct scale_view v = {.now = uv_hrtime(), .waiting = a->gate.queued};
	struct ready ready = {0};
	struct list *it, *tmp;

	v.in_flight = v.waiting;
	LIST_EACH (&rev->replicas, it, tmp) {
		const struct replica *r = LIST_ENTRY(it, struct replica, link);
		uint32_t placed = r->placed - MIN(r->placed, r->released);
		uint32_t at_once = replica_at_once(r);

		v.in_flight += placed + r->elders_placed;
		/* In a replica, but behind others. */
		if (r->room && placed > at_once)
			v.waiting += placed - at_once;
		if (replica_is_ready(r))
			add_ready(&ready, r);
	}
	if (ready.processes)
		rev->at_once = (uint32_t)(ready.at_once / ready.processes) *
			       MAX(rev->spec->predictor.processes, 1u);
	if (a->gate.queued)
		v.oldest = gate_oldest_ns(&a->gate, v.now);
	v.ready = revision_ready(rev);
	v.loading = revision_places(rev) - v.ready;
	v.slots = scale__at_once(rev);
	v.service = a->scale.service_ns;
	v.load = scale_load_ns(rev);
	if (!v.load)
		v.load = LOAD_GUESS_MS * UINT64_C(1000000);
	return v;
}

uint32_t scale__passing(const struct revision *rev)
{
	const struct replica *r = NULL;
	uint32_t n = 0;

	while ((r = replica_next(&rev->replicas, r)))
		n += r->in_flight - MIN(r->placed, r->in_flight);
	return n;
}

/* Each counts alike at first. Replicas come and go too soon to be asked: one
 * that is there has had a few requests, and they may be of all kinds. */
void scale_on_held(struct api *a, uint64_t took_ns)
{
	struct scale *s = &a->scale;
	int64_t more = (int64_t)took_ns - (int64_t)s->service_ns;

	s->held_n = MIN(s->held_n + 1, (uint32_t)SCALE_HELD_MAX);
	s->service_ns += (uint64_t)(more / (int64_t)s->held_n);
}

/* ---- what it costs ---- */

/* Several processes of a replica are there as one. */
static uint64_t there_ns(const struct replica *r, uint64_t now)
{
	return r->number || !r->there_ns ? 0 : now - r->there_ns;
}

void scale_on_gone(struct api *a, struct replica *r)
{
	a->scale.replica_ns += there_ns(r, uv_hrtime());
	r->there_ns = 0;
}

static uint64_t all_there_ns(const struct list *replicas, uint64_t now)
{
	uint64_t sum = 0;

	for (const struct list *it = replicas->next; it != replicas;
	     it = it->next)
		sum += there_ns(CONTAINER_OF((struct list *)(uintptr_t)it,
					     struct replica, link),
				now);
	return sum;
}

uint64_t scale_replica_ns(const struct api *a)
{
	uint64_t now = uv_hrtime(), sum = a->scale.replica_ns;

	for (const struct list *it = a->revisions.next; it != &a->revisions;
	     it = it->next) {
		const struct revision *rev = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct revision, link);

		sum += all_there_ns(&rev->replicas, now);
		sum += all_there_ns(&rev->gone, now);
	}
	return sum;
}

/* ---- what came ---- */

static void turn(struct scale_came *c, uint64_t now_ns)
{
	uint64_t window = now_ns / SCALE_CAME_NS;

	if (window == c->window)
		return;
	c->before = window == c->window + 1 ? c->now : 0;
	c->now = 0;
	c->window = window;
}

void scale__came(struct scale_came *c, uint64_t now_ns)
{
	turn(c, now_ns);
	c->now++;
}

double scale_rate(const struct api *a)
{
	uint64_t now = uv_hrtime();
	struct scale_came c = a->scale.came;
	double gone = (double)(now % SCALE_CAME_NS) / SCALE_CAME_NS;

	turn(&c, now);
	return (c.now + c.before * (1 - gone)) * 1e9 / SCALE_CAME_NS;
}

/* ---- shown ---- */

void scale_put(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct api *a)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, root, "cold"), *arr;

	yyjson_mut_obj_add_uint(doc, o, "requests", a->scale.cold_requests);
	arr = yyjson_mut_obj_add_arr(doc, o, "starts");
	for (unsigned t = 0; t < COLD_TIERS; t++) {
		const struct scale_load *l = &a->scale.loads[t];
		yyjson_mut_val *each;

		if (!l->starts)
			continue;
		each = yyjson_mut_arr_add_obj(doc, arr);
		yyjson_mut_obj_add_str(doc, each, "tier", cold_tier_word(t));
		yyjson_mut_obj_add_uint(doc, each, "count", l->starts);
		yyjson_mut_obj_add_real(doc, each, "mean_ms",
					(double)(l->mean_ns / 1000) / 1000);
	}
}
