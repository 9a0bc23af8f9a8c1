#include "serve/scale.h"

#include "core/mem.h"
#include "loop/log.h"
#include "serve/serve.h"

enum {
	ASK_EVERY_MS = 5,     /* the least time between two of its own */
	WAIT_EVERY_MS = 1,    /* ... and between those for who waits */
	COME_AGAIN_S = 10,    /* one is kept so long for who was told to */
	MINUTE_S = 60,	      /* schedules go by minutes */
	LOOK_AGAIN_MS = 100,  /* while requests are in flight, at the latest */
	HAND_S = 300,	      /* what was said by hand holds so long */
	LOAD_GUESS_MS = 5000, /* of a start, while none was seen */
	LOADS_KEPT = 8,	      /* about so many make the mean */
};

static const uint64_t MS = 1000000, S = 1000000000;

static void on_clock(uv_timer_t *timer);

/* ---- what is so ---- */

static bool can_act(const struct api *a)
{
	return a->serve->loaded && !a->serve->stopping && !a->deleting;
}

/* Nothing is to be decided. */
static bool is_fixed(const struct revision *rev)
{
	return rev->spec->scale.min_replicas == rev->spec->scale.max_replicas;
}

enum cold_tier scale_next_tier(const struct revision *rev)
{
	return zygote_process(&rev->zygote) ? zygote_tier(&rev->zygote)
					    : COLD_PROCESS;
}

uint64_t scale_load_ns(const struct revision *rev)
{
	const struct scale_load *loads = rev->api->scale.loads;
	enum cold_tier tier = scale_next_tier(rev);

	/* A fork takes no longer than what it saves. */
	return loads[tier].mean_ns ? loads[tier].mean_ns
				   : loads[COLD_PROCESS].mean_ns;
}

static struct scale_view look(struct api *a, struct revision *rev)
{
	const struct queue_rate rate = gate_rate(a);
	struct scale *s = &a->scale;
	struct scale_view v = {.now = uv_hrtime(), .waiting = a->gate.queued};
	struct list *it, *tmp;

	if (rate.answers)
		s->service_ns = rate.service_ns;
	v.in_flight = v.waiting;
	LIST_EACH (&rev->replicas, it, tmp) {
		const struct replica *r = LIST_ENTRY(it, struct replica, link);
		uint32_t most = replica_at_once(r);

		v.in_flight += r->placed;
		/* In a replica, but behind others. */
		if (most && r->placed > most)
			v.waiting += r->placed - most;
	}
	v.ready = revision_ready(rev);
	v.loading = revision_places(rev) - v.ready;
	v.slots = replica_slots_of(rev->spec);
	v.service = s->service_ns;
	v.load = scale_load_ns(rev);
	if (!v.load)
		v.load = LOAD_GUESS_MS * MS;
	return v;
}

/* Some of it are from before the daemon, and have not said yet that they are
 * ready. */
static bool is_adopting(struct revision *rev)
{
	struct list *it, *tmp;

	LIST_EACH (&rev->replicas, it, tmp) {
		const struct replica *r = LIST_ENTRY(it, struct replica, link);

		if (r->state == REPLICA_STARTING && !r->started_ns)
			return true;
	}
	return false;
}

/* ---- what is done ---- */

static void arm(struct serve *s)
{
	const struct heap_node *first = heap_first(&s->asks);
	uint64_t now = uv_now(s->loop);

	if (first)
		uv_timer_start(&s->ask, on_clock,
			       first->key > now ? first->key - now : 0, 0);
}

static void ask_in(struct api *a, uint64_t ns)
{
	uint64_t ms = MAX((ns + MS - 1) / MS, (uint64_t)ASK_EVERY_MS);

	heap_put(&a->serve->asks, &a->scale.ask, uv_now(a->serve->loop) + ms);
	arm(a->serve);
}

/* No fewer than this, whatever policy says. */
static uint32_t least(struct scale *s, struct revision *rev)
{
	uint64_t now = s->asked_ns;
	uint32_t n = s->waking || now < s->awaited_until;

	s->scheduled = schedule_floor(&rev->schedule, log_now_ms() / 1000);
	n = MAX(n, s->scheduled);
	return now < s->held_until ? MAX(n, s->held) : n;
}

static void set_wanted(struct api *a, uint32_t n)
{
	a->scale.wanted = n;
	if (a->live)
		revision_step(a->live);
	if (a->want && a->want != a->live)
		revision_step(a->want);
}

/* The sooner of two times, 0 being never; `other` if it is still to come. */
static uint64_t sooner(uint64_t at, uint64_t other, uint64_t now)
{
	if (other <= now)
		return at;
	return at ? MIN(at, other) : other;
}

/* The time until policy is to be asked again; 0: only if something happens. */
static uint64_t until_next(const struct scale *s, const struct revision *rev)
{
	uint64_t now = s->asked_ns, next = s->advice.again;

	next = sooner(next, s->held_until, now);
	next = sooner(next, s->awaited_until, now);
	if (rev->schedule.n)
		next = sooner(next, now + MINUTE_S * S, now);
	if (s->view.in_flight)
		next = sooner(next, now + LOOK_AGAIN_MS * MS, now);
	return next > now ? next - now : next > 0;
}

static void do_what_it_says(struct api *a, uint32_t n, bool more)
{
	if (n > a->scale.wanted || (n < a->scale.wanted && !more))
		set_wanted(a, n);
}

static void by_latency(struct api *a, struct revision *rev, uint32_t needed,
		       bool more)
{
	struct scale *s = &a->scale;
	const struct scale_rule rule = {
		.min = rev->spec->scale.min_replicas,
		.max = rev->spec->scale.max_replicas,
		.patience = rev->spec->scale.max_wait_ms * MS,
		.worth = rev->spec->scale.wait_worth,
	};
	uint64_t next;
	uint32_t n;

	s->view.in_flight = MAX(s->view.in_flight, needed);
	s->advice = autoscale(&s->policy, &s->view, &rule);
	n = MAX(s->advice.want, least(s, rev));
	if (s->advice.needed)
		n = MAX(n, s->advice.needed + rev->spec->scale.buffer_replicas);
	n = MIN(n, rule.max);
	next = more && n < s->wanted ? 1 : until_next(s, rev);
	if (next)
		ask_in(a, next);
	do_what_it_says(a, n, more);
}

static struct cortex_rule cortex_rule_of(const struct spec *spec)
{
	return (struct cortex_rule){
		.min = spec->scale.min_replicas,
		.max = spec->scale.max_replicas,
		.target = spec->scale.target_in_flight,
		.max_downscale_factor = spec->scale.max_down,
		.max_upscale_factor = spec->scale.max_up,
		.downscale_tolerance = spec->scale.down_tolerance,
		.upscale_tolerance = spec->scale.up_tolerance,
		.downscale_period = spec->scale.down_period_ms * MS,
		.upscale_period = spec->scale.up_period_ms * MS,
	};
}

/* A sample a second while there is anything; each tenth is a tick. */
static void by_cortex(struct api *a, struct revision *rev)
{
	const struct cortex_rule rule = cortex_rule_of(rev->spec);
	uint32_t steps = rev->spec->scale.window_ms / 1000 / CORTEX_TICK_S;
	struct scale *s = &a->scale;
	uint32_t n = MIN(MAX(s->wanted, rule.min), rule.max);

	if (scale_mean_add(&s->mean, s->view.in_flight, steps,
			   &s->mean_in_flight))
		n = cortex_scale(&s->cortex, &rule, s->asked_ns, n,
				 s->mean_in_flight);
	if (s->view.in_flight)
		n = MAX(n, 1u);
	n = MIN(MAX(n, least(s, rev)), rule.max);
	if (n || s->mean_in_flight > 0)
		ask_in(a, S);
	else if (rev->schedule.n)
		ask_in(a, MINUTE_S * S);
	do_what_it_says(a, n, false);
}

/* Asks policy and does what it says. needed: as if so many were in flight.
 * more: fewer replicas have time until the clock asks: here somebody stands on
 * them. */
static void step(struct api *a, uint32_t needed, bool more)
{
	struct scale *s = &a->scale;
	struct revision *rev = gate_serving(a);
	bool cortex;

	if (!rev || !can_act(a) || s->asleep || is_fixed(rev))
		return;
	cortex = rev->spec->scale.policy == SCALE_BY_CORTEX;
	if (cortex && more) {
		if (!s->ask.at)
			ask_in(a, S);
		return;
	}
	/* What a rollout began with, or was there, is not let go meanwhile. */
	if (!more && (rev->state != REVISION_LIVE || is_adopting(rev))) {
		ask_in(a, LOOK_AGAIN_MS * MS);
		return;
	}
	s->view = look(a, rev);
	s->asked_ns = s->view.now;
	if (cortex)
		by_cortex(a, rev);
	else
		by_latency(a, rev, needed, more);
}

/* From none to one, whatever policy says. */
static void have_one(struct api *a)
{
	if (a->scale.wanted)
		return;
	cortex_awaken(&a->scale.cortex, uv_hrtime());
	set_wanted(a, 1);
}

/* ---- what happens ---- */

void scale_begin(struct api *a)
{
	struct scale *s = &a->scale;

	s->asleep = false;
	if (!s->begun)
		s->wanted = a->want->spec->scale.init_replicas;
	s->begun = true;
}

void scale_adopted(struct api *a)
{
	a->scale.wanted = 0;
	if (a->live)
		a->scale.wanted = revision_places(a->live);
	if (a->want)
		a->scale.wanted =
			MAX(a->scale.wanted, revision_places(a->want));
	/* Who sleeps is asked nothing else. Those that are ready already have
	 * said so before anything could be done about it. */
	if (a->scale.wanted || (a->want && a->want->schedule.n))
		ask_in(a, 0);
}

/* A question that comes later than this learns too late of what happens. */
static void ask_soon(struct api *a)
{
	const struct heap_node *ask = &a->scale.ask;

	if ((!ask->at || ask->key > uv_now(a->serve->loop) + ASK_EVERY_MS) &&
	    can_act(a))
		ask_in(a, 0);
}

void scale_on_request(struct api *a, const struct revision *rev,
		      uint64_t now_ns)
{
	if (is_fixed(rev))
		return;
	if (rev->spec->scale.policy == SCALE_BY_CORTEX) {
		if (!a->scale.ask.at && can_act(a))
			ask_in(a, S);
		return;
	}
	autoscale_arrived(&a->scale.policy, now_ns);
	ask_soon(a);
}

void scale_on_over(struct api *a)
{
	const struct revision *rev = gate_serving(a);

	if (rev && !is_fixed(rev) &&
	    rev->spec->scale.policy == SCALE_BY_LATENCY)
		ask_soon(a);
}

static void wake(struct api *a)
{
	struct scale *s = &a->scale;

	s->asleep = false;
	s->waking = true;
	step(a, 1, true);
	have_one(a);
}

void scale_on_wait(struct api *a)
{
	struct revision *rev = gate_serving(a);

	api_is_busy(a);
	if (!rev || !can_act(a))
		return;
	if (a->scale.asleep || !revision_requested(rev))
		wake(a);
	else if (uv_hrtime() - a->scale.asked_ns >= WAIT_EVERY_MS * MS)
		step(a, 0, true);
}

void scale_on_refusal(struct api *a)
{
	a->scale.refused = true;
	scale_on_wait(a);
}

static void learn(struct scale_load *l, uint64_t took_ns)
{
	l->mean_ns = l->mean_ns ? l->mean_ns - l->mean_ns / LOADS_KEPT +
					  took_ns / LOADS_KEPT
				: took_ns;
	l->starts++;
	l->total_ns += took_ns;
}

void scale_on_ready(struct api *a, const struct replica *r)
{
	struct scale *s = &a->scale;
	uint64_t now = uv_hrtime();

	s->waking = false;
	if (s->refused)
		s->awaited_until = now + COME_AGAIN_S * S;
	s->refused = false;
	if (r->started_ns) {
		learn(&s->loads[r->tier], now - r->started_ns);
		step(a, 0, true);
	} else {
		/* From before the daemon: who needed it is not known, so it
		 * is as if it were needed up to now. */
		step(a, replica_slots_of(r->rev->spec) * revision_ready(r->rev),
		     true);
	}
}

/* Several processes of a replica are there as one. */
static uint64_t there_ns(const struct replica *r, uint64_t now)
{
	return r->number ? 0 : now - r->there_ns;
}

void scale_on_gone(struct api *a, const struct replica *r)
{
	a->scale.replica_ns += there_ns(r, uv_hrtime());
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

void scale_on_live(struct api *a)
{
	const struct revision *rev = gate_serving(a);

	/* Policy keeps what was needed once, for as long as that is worth. */
	step(a, replica_slots_of(rev->spec) * revision_ready(rev), true);
	if (rev->spec->scale.policy == SCALE_BY_CORTEX)
		have_one(a);
}

int scale_set(struct api *a, uint32_t n, struct err *err)
{
	const struct spec *spec = a->want ? a->want->spec : NULL;
	struct scale *s = &a->scale;

	if (!spec || !can_act(a))
		return err_set(err, E_CONFLICT, "'%s' has nothing to scale",
			       a->name);
	if (n > spec->scale.max_replicas)
		return err_set(
			err, E_UNPROCESSABLE,
			"'%s' has at most %u replica%s: deploy it with a "
			"larger autoscaling.max_replicas",
			a->name, spec->scale.max_replicas,
			spec->scale.max_replicas == 1 ? "" : "s");
	if (n && n < spec->scale.min_replicas)
		return err_set(err, E_UNPROCESSABLE,
			       "'%s' has at least %u replicas: deploy it with "
			       "a smaller autoscaling.min_replicas; 0 stops "
			       "all of them until the next request",
			       a->name, spec->scale.min_replicas);
	/* Whoever waits already is the next request. */
	s->asleep = !n && !a->gate.queued;
	s->waking = s->refused = false;
	s->awaited_until = 0;
	s->held = n;
	s->held_until = uv_hrtime() + HAND_S * S;
	set_wanted(a, a->gate.queued ? MAX(n, 1u) : n);
	if (n)
		ask_in(a, 0);
	return 0;
}

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

void scale_fini(struct api *a)
{
	heap_remove(&a->serve->asks, &a->scale.ask);
	autoscale_fini(&a->scale.policy);
	cortex_scale_fini(&a->scale.cortex);
	scale_mean_fini(&a->scale.mean);
}

/* ---- the clock ---- */

static void on_clock(uv_timer_t *timer)
{
	struct serve *s = timer->data;
	struct heap_node *first;

	while ((first = heap_first(&s->asks)) &&
	       first->key <= uv_now(s->loop)) {
		struct api *a = CONTAINER_OF(first, struct api, scale.ask);

		heap_remove(&s->asks, first);
		step(a, 0, false);
	}
	arm(s);
}

void scale_clock_open(struct serve *s)
{
	uv_timer_init(s->loop, &s->ask);
	s->ask.data = s;
}

static void on_clock_closed(uv_handle_t *handle)
{
	(void)handle;
}

void scale_clock_close(struct serve *s)
{
	uv_close((uv_handle_t *)&s->ask, on_clock_closed);
	heap_fini(&s->asks);
}
