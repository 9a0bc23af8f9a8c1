#include "serve/rollout.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "core/str.h"
#include "policy/balance.h"
#include "serve/memory.h"
#include "serve/revision_parts.h"
#include "serve/serve.h"

static const double NS = 1e9;

void rollout_fini(struct rollout *r)
{
	free(r->worse);
}

bool rollout_is_on(const struct api *a)
{
	return a->live && a->want && a->live != a->want && !a->deleting &&
	       a->want->state == REVISION_UPDATING &&
	       !a->want->spec->split_json && !a->live->spec->split_json;
}

static bool is_new(const struct revision *rev)
{
	return rollout_is_on(rev->api) && rev == rev->api->want;
}

static bool is_old(const struct revision *rev)
{
	return rollout_is_on(rev->api) && rev == rev->api->live;
}

/* ---- what is so ---- */

static struct rollout_view view_of(const struct api *a)
{
	struct revision *old = a->live, *rev = a->want;
	struct memory_room room = memory_room(rev);

	return (struct rollout_view){
		.asked = revision_asked(rev),
		.kept = revision_asked(old),
		.old_places = revision_places(old),
		.old_ready = revision_ready(old),
		.new_places = revision_places(rev),
		.new_ready = revision_ready(rev),
		.room = room.now,
		.soon = room.soon,
		.instead = room.instead,
	};
}

static struct rollout_rule rule_of(const struct api *a, uint32_t n)
{
	const struct spec *spec = a->want->spec;

	return (struct rollout_rule){
		.surge = rollout_share(spec->update.surge, n, true),
		.unavailable =
			rollout_share(spec->update.unavailable, n, false),
	};
}

/* ---- whether requests may be held ---- */

/* Most that may wait: by the api's own bounds. NULL: none are likely to be
 * refused. */
static uint64_t most_that_wait(const struct api *a, const char **ret_key)
{
	const struct spec *spec = a->live->spec;
	uint64_t most = (uint64_t)spec->scale.max_replica_concurrency *
			MAX(revision_asked(a->live), 1u);

	*ret_key = "max_replica_concurrency";
	if (spec->max_queue_length && spec->max_queue_length < most) {
		*ret_key = "max_queue_length";
		most = spec->max_queue_length;
	}
	return most;
}

/* Why those who come while the last old replica ends and the first new one
 * starts cannot wait for that long; NULL: they can, as far as it is known;
 * mem_printf. */
static char *why_no_hold(const struct api *a)
{
	const struct spec *spec = a->live->spec;
	double load = (double)scale_load_ns(a->want) / NS;
	double rate = scale_rate(a), held;
	uint64_t limit_ms = a->want->spec->update.max_hold_ms, most;
	const char *key = "update_strategy.max_hold";
	char limit[32];

	if (rate <= 0 || load <= 0)
		return NULL;
	if (spec->request_timeout_ms && spec->request_timeout_ms < limit_ms) {
		limit_ms = spec->request_timeout_ms;
		key = "request_timeout";
	}
	if (load * 1000 > (double)limit_ms)
		return mem_printf("a start takes %.1f s, and requests can wait "
				  "for %s (%s)",
				  load, str_human_ms((int64_t)limit_ms, limit),
				  key);
	held = ceil(rate * load);
	most = most_that_wait(a, &key);
	if (held <= (double)most)
		return NULL;
	return mem_printf("a start takes %.1f s, in which about %.0f requests "
			  "would come (%.1f a second), and %llu may wait (%s)",
			  load, held, rate, (unsigned long long)most, key);
}

/* Requests are about to wait, for there is nobody beside the new one: whether
 * they may. If not it has failed. */
static bool may_hold(struct api *a)
{
	cleanup_free char *why = why_no_hold(a);
	cleanup_free char *memory = NULL, *text = NULL;

	if (!why)
		return true;
	memory = memory_beside_text(a->want, a->live);
	text = mem_printf("%s, and it cannot take the place of that one, for "
			  "%s: give Soma more memory (the setting `memory`), "
			  "let more wait, or deploy it when fewer requests "
			  "come",
			  memory, why);
	revision__failed(a->want, NULL, text);
	return false;
}

/* ---- steps ---- */

void rollout_look(struct api *a)
{
	struct rollout_step *step = &a->rollout.step;
	struct rollout_view v;
	struct rollout_rule rule;

	if (!rollout_is_on(a)) {
		*step = (struct rollout_step){0};
		return;
	}
	v = view_of(a);
	rule = rule_of(a, v.asked);
	*step = rollout_next(&v, &rule);
	if (!step->hold)
		return;
	/* Where nothing serves, nothing is held that was not before. */
	if (v.old_ready && !may_hold(a))
		*step = (struct rollout_step){.old_places = v.old_places};
}

void rollout_step(struct api *a)
{
	struct rollout *r = &a->rollout;
	bool shared = r->step.shares;

	if (!rollout_is_on(a) || r->stepping)
		return;
	r->stepping = true;
	rollout_look(a);
	/* It may have failed by that, or be live by its step. */
	if (rollout_is_on(a))
		revision_step(a->live);
	if (rollout_is_on(a))
		revision_step(a->want);
	r->stepping = false;
	if (r->step.shares && !shared)
		gate_flush(a);
}

void rollout_step_of(struct revision *rev)
{
	if (rollout_is_on(rev->api))
		rollout_step(rev->api);
	else
		revision_step(rev);
}

unsigned rollout_places(const struct revision *rev, unsigned n)
{
	const struct rollout_step *step = &rev->api->rollout.step;

	if (rollout_is_prior(rev))
		return revision_places(rev);
	if (is_old(rev))
		return step->old_places;
	return is_new(rev) ? MIN(n, step->new_places) : n;
}

bool rollout_makes_room(const struct revision *rev)
{
	const struct api *a = rev->api;

	return is_new(rev) && !a->rollout.step.hopeless &&
	       revision_places(a->live) > a->rollout.step.old_places;
}

struct revision *rollout_beside(const struct api *a)
{
	return rollout_is_on(a) && a->rollout.step.shares ? a->want : NULL;
}

struct revision *rollout_awaited(const struct api *a)
{
	if (rollout_is_on(a) && !revision_places(a->live))
		return a->want;
	return gate_serving(a);
}

/* ---- time ---- */

static bool is_held(const struct api *a)
{
	return a->gate.queued && !revision_places(a->live) &&
	       !revision_any_ready(a->want);
}

static void tick_hold(struct api *a)
{
	uint64_t now = uv_now(a->serve->loop);
	uint32_t limit = a->want->spec->update.max_hold_ms;
	cleanup_free char *text = NULL;
	char after[32];

	if (!is_held(a)) {
		a->rollout.held_at = 0;
		return;
	}
	if (!a->rollout.held_at)
		a->rollout.held_at = now;
	if (now - a->rollout.held_at < limit)
		return;
	a->rollout.held_at = 0;
	text = mem_printf("no replica of it was ready within %s "
			  "(update_strategy.max_hold), while %u requests "
			  "waited for it",
			  str_human_ms(limit, after), a->gate.queued);
	revision__failed(a->want, NULL, text);
}

static void go_back(struct api *a)
{
	cleanup_free char *why = mem_take(&a->rollout.worse);
	struct revision *bad = a->want, *prior = a->rollout.prior;

	if (bad != a->live) {
		if (rollout_is_on(a))
			revision__failed(bad, NULL, why);
		return;
	}
	if (!prior || bad->state != REVISION_LIVE)
		return;
	a->rollout.prior = NULL;
	bad->state = REVISION_FAILED;
	revision__set_message(bad, why);
	api_event(a, bad->number, "failed", NULL, NULL, "%s", why);
	api_event(a, bad->number, "rolled_back", NULL, NULL,
		  "revision %lld serves again", (long long)prior->number);
	history_failed(a, bad->number, why, prior->number);
	/* Like any that is on its way: at once where its replicas are there. */
	prior->state = REVISION_UPDATING;
	a->want = prior;
	rollout_step(a);
}

/* The next to go of those that are kept. */
static void end_kept(struct revision *prior)
{
	unsigned index = revision__least_missed(prior);
	struct replica *r;

	for (unsigned p = 0; p < prior->spec->predictor.processes; p++)
		if ((r = revision_find(prior, index, p)))
			replica_leave(r, prior->spec->grace_ms);
}

static void tick_watch(struct api *a)
{
	const struct revision *rev = a->live;
	char whole[32];

	if (!a->rollout.prior)
		return;
	/* No more than are needed: who goes back to it would need no more. */
	while (revision_places(a->rollout.prior) >
	       MAX(revision_places(rev), revision_asked(rev)))
		end_kept(a->rollout.prior);
	if (uv_now(a->serve->loop) < a->rollout.watch_until)
		return;
	api_event(a, rev->number, "watched", NULL, NULL,
		  "%llu requests in %s, of which %llu failed; revision %lld "
		  "ends",
		  (unsigned long long)rev->count.requests,
		  str_human_ms(rev->spec->update.watch_ms, whole),
		  (unsigned long long)rev->count.errors,
		  (long long)a->rollout.prior->number);
	rollout_drop_prior(a);
}

void rollout_tick(struct api *a)
{
	if (a->serve->stopping || a->serve->yielded || !a->serve->loaded ||
	    a->deleting)
		return;
	if (a->rollout.worse)
		go_back(a);
	if (rollout_is_on(a))
		tick_hold(a);
	rollout_step(a);
	tick_watch(a);
}

/* ---- the revision before ---- */

bool rollout_is_prior(const struct revision *rev)
{
	return rev->api->rollout.prior == rev;
}

bool rollout_keep_prior(struct api *a, struct revision *old)
{
	struct rollout *r = &a->rollout;
	uint32_t watch_ms = a->live->spec->update.watch_ms;

	if (!watch_ms || old->state != REVISION_LIVE || a->deleting ||
	    a->live->spec->split_json || old->spec->split_json)
		return false;
	rollout_drop_prior(a);
	frozen_leave(old);
	r->prior = old;
	r->before = old->count;
	r->watch_until = uv_now(a->serve->loop) + watch_ms;
	free(mem_take(&r->worse));
	api_is_busy(a);
	return true;
}

void rollout_drop_prior(struct api *a)
{
	struct revision *prior = mem_take(&a->rollout.prior);

	if (prior && !prior->leaving)
		revision_leave(prior);
}

bool rollout_give_way(struct serve *s)
{
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		struct revision *prior = a->rollout.prior;

		if (!prior || list_empty(&prior->replicas))
			continue;
		end_kept(prior);
		return true;
	}
	return false;
}

/* ---- the watch ---- */

/* What it is compared with; NULL: it is not watched. */
static const struct chance_sample *count_before(const struct revision *rev)
{
	const struct api *a = rev->api;

	if (rev != a->want || a->rollout.worse)
		return NULL;
	if (is_new(rev))
		return a->rollout.step.shares ? &a->live->count : NULL;
	return a->rollout.prior ? &a->rollout.before : NULL;
}

static int64_t number_before(const struct api *a)
{
	return a->live == a->want ? a->rollout.prior->number : a->live->number;
}

void rollout_answered(struct revision *rev, bool failed)
{
	const struct chance_sample *before;
	struct api *a = rev->api;

	watch_add(&rev->count, failed);
	if (!failed || !(before = count_before(rev)) ||
	    !watch_is_worse(&rev->count, before))
		return;
	a->rollout.worse = mem_printf(
		"%llu of its first %llu requests failed, and %llu of the last "
		"%llu of revision %lld",
		(unsigned long long)rev->count.errors,
		(unsigned long long)rev->count.requests,
		(unsigned long long)before->errors,
		(unsigned long long)before->requests,
		(long long)number_before(a));
	/* The tick does it: the caller stands on a replica. */
	api_is_busy(a);
}

void rollout_died(struct revision *rev, const char *cause)
{
	struct api *a = rev->api;

	if (!count_before(rev) || ++rev->deaths < WATCH_DEATHS)
		return;
	a->rollout.worse = mem_printf("its replicas ended %u times once they "
				      "were ready, the last time by %s",
				      rev->deaths, cause);
	api_is_busy(a);
}

/* ---- shown ---- */

static void put_part(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key,
		     const struct revision *rev)
{
	yyjson_mut_val *p = yyjson_mut_obj_add_obj(doc, o, key);

	yyjson_mut_obj_add_int(doc, p, "revision", rev->number);
	yyjson_mut_obj_add_uint(doc, p, "places", revision_places(rev));
	yyjson_mut_obj_add_uint(doc, p, "ready", revision_ready(rev));
}

static void put_count(yyjson_mut_doc *doc, yyjson_mut_val *o,
		      const struct chance_sample *c)
{
	yyjson_mut_obj_add_uint(doc, o, "requests", c->requests);
	yyjson_mut_obj_add_uint(doc, o, "failed", c->errors);
}

static void put_rollout(const struct api *a, yyjson_mut_doc *doc,
			yyjson_mut_val *root)
{
	yyjson_mut_val *o;

	if (!rollout_is_on(a)) {
		yyjson_mut_obj_add_null(doc, root, "rollout");
		return;
	}
	o = yyjson_mut_obj_add_obj(doc, root, "rollout");
	put_part(doc, o, "from", a->live);
	put_part(doc, o, "to", a->want);
	yyjson_mut_obj_add_bool(doc, o, "shares", rollout_beside(a) != NULL);
	yyjson_mut_obj_add_uint(doc, o, "held",
				is_held(a) ? a->gate.queued : 0);
}

void rollout_put(const struct api *a, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	const struct revision *prior = a->rollout.prior;
	uint64_t now = uv_now(a->serve->loop), until = a->rollout.watch_until;
	yyjson_mut_val *o;

	put_rollout(a, doc, root);
	if (!prior || !a->live) {
		yyjson_mut_obj_add_null(doc, root, "watch");
		return;
	}
	o = yyjson_mut_obj_add_obj(doc, root, "watch");
	yyjson_mut_obj_add_int(doc, o, "revision", a->live->number);
	put_count(doc, o, &a->live->count);
	yyjson_mut_obj_add_real(doc, o, "per_s", scale_rate(a));
	yyjson_mut_obj_add_uint(doc, o, "left_ms", until - MIN(now, until));
	o = yyjson_mut_obj_add_obj(doc, o, "before");
	yyjson_mut_obj_add_int(doc, o, "revision", prior->number);
	put_count(doc, o, &a->rollout.before);
	yyjson_mut_obj_add_uint(doc, o, "places", revision_places(prior));
}
