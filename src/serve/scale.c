#include "serve/scale.h"

#include "core/mem.h"
#include "loop/log.h"
#include "serve/scale_parts.h"
#include "serve/serve.h"

enum {
	ASK_EVERY_MS = 5,    /* the least time between two of its own */
	WAIT_EVERY_MS = 1,   /* ... and between those for who waits */
	COME_AGAIN_S = 10,   /* one is kept so long for who was told to */
	MINUTE_MS = 60000,   /* a clock that was put forward is seen then */
	LOOK_AGAIN_MS = 100, /* while requests are in flight, at the latest */
	LOADS_KEPT = 8,	     /* about so many make the mean */
};

static const uint64_t MS = 1000000, S = 1000000000;

static void on_clock(uv_timer_t *timer);

/* ---- what is so ---- */

static bool can_act(const struct api *a)
{
	return a->serve->loaded && !a->serve->stopping && !a->serve->yielded &&
	       !a->deleting;
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

/* Nothing is to be decided. */
static bool is_fixed(const struct revision *rev)
{
	return rev->spec->scale.min_replicas == rev->spec->scale.max_replicas;
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

/* A question that is to come no later than that. */
static void ask_within(struct api *a, uint64_t ns)
{
	const struct heap_node *ask = &a->scale.ask;
	uint64_t ms = MAX(ns / MS, (uint64_t)ASK_EVERY_MS);

	if ((!ask->at || ask->key > uv_now(a->serve->loop) + ms) && can_act(a))
		ask_in(a, ns);
}

/* What its schedule asks for now. *ret_ns: until it may ask for something else.
 */
static uint32_t scheduled(struct revision *rev, uint64_t *ret_ns)
{
	int64_t now_ms = log_now_ms(), until_s;
	uint32_t n = schedule_floor(&rev->schedule, now_ms / 1000, &until_s);

	*ret_ns = (uint64_t)MIN(MAX(until_s * 1000 - now_ms, (int64_t)1),
				(int64_t)MINUTE_MS) *
		  MS;
	return n;
}

/* No fewer than this, whatever policy says. */
static uint32_t least(struct scale *s, struct revision *rev)
{
	uint64_t now = s->asked_ns;
	uint32_t n = s->waking || now < s->awaited_until;

	s->answering = revision_answering(rev);
	s->scheduled = 0;
	if (rev->schedule.n)
		s->scheduled = scheduled(rev, &s->schedule_ns);
	n = MAX(MAX(n, s->scheduled), s->answering);
	return now < s->held_until ? MAX(n, s->held) : n;
}

static void set_wanted(struct api *a, uint32_t n)
{
	a->scale.wanted = n;
	if (rollout_is_on(a)) {
		rollout_step(a);
		return;
	}
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
		next = sooner(next, now + s->schedule_ns, now);
	if (s->view.in_flight)
		next = sooner(next, now + LOOK_AGAIN_MS * MS, now);
	return next > now ? next - now : next > 0;
}

static void do_what_it_says(struct api *a, uint32_t n, bool more)
{
	/* A rollout has enough to do. */
	more = more || rollout_is_on(a);
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
		.keep = rev->spec->scale.keep_idle_ms * MS,
	};
	uint64_t next, learned = s->policy.learned;
	uint32_t n;

	s->view.in_flight = MAX(s->view.in_flight, needed);
	s->advice = autoscale(&s->policy, &s->view, &rule);
	if (s->policy.learned != learned)
		scale__changed(a);
	n = MAX(s->advice.want, least(s, rev));
	if (s->advice.needed)
		n = MAX(n, s->advice.needed + rev->spec->scale.buffer_replicas);
	if (s->evicted && !s->view.in_flight)
		n = MAX(least(s, rev), rule.min);
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
	uint32_t in_flight = a->scale.view.in_flight + scale__passing(rev);
	const struct cortex_rule rule = cortex_rule_of(rev->spec);
	uint32_t steps = rev->spec->scale.window_ms / 1000 / CORTEX_TICK_S;
	struct scale *s = &a->scale;
	uint32_t n = MIN(MAX(s->wanted, rule.min), rule.max);

	if (scale_mean_add(&s->mean, in_flight, steps, &s->mean_in_flight))
		n = cortex_scale(&s->cortex, &rule, s->asked_ns, n,
				 s->mean_in_flight);
	if (in_flight)
		n = MAX(n, 1u);
	else if (s->evicted)
		n = rule.min;
	n = MIN(MAX(n, least(s, rev)), rule.max);
	if (n || s->mean_in_flight > 0)
		ask_in(a, S);
	else if (rev->schedule.n)
		ask_in(a, s->schedule_ns);
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
		ask_within(a, S);
		return;
	}
	/* What a rollout began with, or was there, is not let go meanwhile:
	 * scale_on_live asks. */
	if (!more && rev->state != REVISION_LIVE)
		return;
	if (!more && is_adopting(rev)) {
		ask_in(a, LOOK_AGAIN_MS * MS);
		return;
	}
	s->view = scale__look(a, rev);
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

static void stay_awake(struct api *a)
{
	if (!a->scale.asleep)
		return;
	a->scale.asleep = false;
	scale__changed(a);
}

void scale_begin(struct api *a)
{
	struct scale *s = &a->scale;

	stay_awake(a);
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
	if (a->scale.wanted || a->scale.held_until ||
	    (a->want && a->want->schedule.n))
		ask_in(a, 0);
}

void scale_on_request(struct api *a, const struct revision *rev,
		      uint64_t now_ns)
{
	a->scale.evicted = false;
	scale__came(&a->scale.came, now_ns);
	if (is_fixed(rev))
		return;
	if (rev->spec->scale.policy == SCALE_BY_CORTEX) {
		ask_within(a, S);
		return;
	}
	autoscale_arrived(&a->scale.policy, now_ns);
	/* A question that comes later learns too late of what happens. */
	ask_within(a, 0);
}

void scale_on_over(struct api *a)
{
	const struct revision *rev = gate_serving(a);

	if (rev && !is_fixed(rev) &&
	    rev->spec->scale.policy == SCALE_BY_LATENCY)
		ask_within(a, 0);
}

static void wake(struct api *a)
{
	struct scale *s = &a->scale;

	stay_awake(a);
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
	if (a->scale.asleep || !revision_asked(rev))
		wake(a);
	else if (uv_hrtime() - a->scale.asked_ns >= WAIT_EVERY_MS * MS)
		step(a, 0, true);
}

uint32_t scale_least(const struct api *a)
{
	const struct scale *s = &a->scale;

	return uv_hrtime() < s->held_until ? MAX(s->scheduled, s->held)
					   : s->scheduled;
}

bool scale_is_awaited(const struct api *a)
{
	const struct revision *rev = gate_serving(a);

	/* Of one that fails whoever comes again would find none. */
	return uv_hrtime() < a->scale.awaited_until &&
	       !(rev && revision_cannot_start(rev));
}

void scale_on_evicted(struct api *a)
{
	struct scale *s = &a->scale;
	unsigned left = revision_places(gate_serving(a));

	if (rollout_is_on(a))
		left += revision_places(a->want);
	s->wanted = MIN(s->wanted, left);
	s->evicted = !left;
	if (a->gate.queued)
		scale_on_wait(a);
}

void scale_on_refusal(struct api *a)
{
	a->scale.refused = true;
	scale_on_wait(a);
}

void scale_on_promise(struct api *a, uint32_t seconds)
{
	uint64_t until = uv_hrtime() + (seconds + (uint64_t)COME_AGAIN_S) * S;

	a->scale.awaited_until = MAX(a->scale.awaited_until, until);
	ask_within(a, 0);
}

void scale_on_hopeless(struct api *a)
{
	a->scale.waking = false;
	ask_within(a, 0);
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
	/* Sooner or later than was said: those who come again find it. */
	if (now < s->awaited_until || s->refused)
		s->awaited_until =
			MAX(s->awaited_until, now + COME_AGAIN_S * S);
	s->refused = false;
	if (r->started_ns) {
		/* Of one that was frozen its first answer tells. */
		if (!r->thawed_ns) {
			learn(&s->loads[r->tier], now - r->started_ns);
			scale__changed(a);
		}
		step(a, 0, true);
	} else {
		/* From before the daemon: who needed it is not known, so it
		 * is as if it were needed up to now. */
		step(a, scale__at_once(r->rev) * revision_ready(r->rev), true);
	}
}

void scale_on_thawed(struct api *a, uint64_t took_ns)
{
	learn(&a->scale.loads[COLD_FROZEN], took_ns);
	scale__changed(a);
}

void scale_on_live(struct api *a)
{
	const struct revision *rev = gate_serving(a);

	/* Policy keeps what was needed once, for as long as that is worth. */
	step(a, scale__at_once(rev) * revision_ready(rev), true);
	if (rev->spec->scale.policy == SCALE_BY_CORTEX)
		have_one(a);
}

int scale_set(struct api *a, uint32_t n, store_done *done, void *data,
	      struct err *err)
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
	s->held_until = uv_hrtime() + SCALE_HAND_S * S;
	scale__keep(a, done, data);
	set_wanted(a, a->gate.queued ? MAX(n, 1u) : n);
	if (n)
		ask_in(a, 0);
	return 0;
}

void scale_fini(struct api *a)
{
	heap_remove(&a->serve->asks, &a->scale.ask);
	if (a->scale.is_changed)
		list_remove(&a->scale.changed);
	autoscale_fini(&a->scale.policy);
	cortex_scale_fini(&a->scale.cortex);
	scale_mean_fini(&a->scale.mean);
}

/* ---- the clock ---- */

static void on_clock(uv_timer_t *timer)
{
	struct serve *s = timer->data;
	struct heap_node *first;

	if (s->yielded)
		return;
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
