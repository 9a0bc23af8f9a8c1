#include "serve/explain.h"

#include <math.h>
#include <stdio.h>

#include "core/mem.h"
#include "serve/serve.h"

/* What is explained. */
struct matter {
	const struct api *api;
	const struct spec *spec;
	const struct scale *scale;
	unsigned requested, ready, places;
	uint64_t now;
	yyjson_mut_doc *doc;
	yyjson_mut_val *lines;
};

__attribute__((format(printf, 2, 3))) static void say(const struct matter *m,
						      const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	if (text)
		yyjson_mut_arr_add_strcpy(m->doc, m->lines, text);
}

/* "1 replica", "2 replicas" */
struct count {
	char text[32];
};
static struct count count_of(unsigned n, const char *noun)
{
	struct count c;

	snprintf(c.text, sizeof c.text, "%u %s%s", n, noun, n == 1 ? "" : "s");
	return c;
}

struct span {
	char text[32];
};
static struct span span_of(uint64_t ns)
{
	struct span s;

	if (ns < 10000000)
		snprintf(s.text, sizeof s.text, "%.2f ms", (double)ns / 1e6);
	else
		str_human_ms((int64_t)(ns / 1000000), s.text);
	return s;
}

static struct span max_wait_of(const struct matter *m)
{
	return span_of(m->spec->scale.max_wait_ms * UINT64_C(1000000));
}

static const char *are(unsigned n)
{
	return n == 1 ? "is" : "are";
}

/* Requests per second that so many replicas have time for; 0: not known. */
static double enough_for(const struct matter *m, unsigned replicas)
{
	const struct scale_view *v = &m->scale->view;

	return v->service ? replicas * v->slots * 1e9 / (double)v->service : 0;
}

/* ---- what decided ---- */

enum cause {
	CAUSE_POLICY,
	CAUSE_ASLEEP,
	CAUSE_SWAPPED,
	CAUSE_HELD,
	CAUSE_SCHEDULE,
	CAUSE_WAKING,
	CAUSE_AWAITED,
	CAUSE_ANSWERING,
	CAUSE_FIXED,
	CAUSE_ROLLOUT,
	CAUSE_NEW,
};

static enum cause cause_of(const struct matter *m)
{
	const struct scale *s = m->scale;
	bool cortex = m->spec->scale.policy == SCALE_BY_CORTEX;
	unsigned policy = MAX(cortex ? s->wanted : s->advice.want,
			      m->spec->scale.min_replicas);

	if (s->asleep)
		return CAUSE_ASLEEP;
	if (s->evicted && !s->wanted)
		return CAUSE_SWAPPED;
	if (m->api->want->state != REVISION_LIVE && !s->wanted)
		return CAUSE_ROLLOUT;
	if (m->spec->scale.min_replicas == m->spec->scale.max_replicas)
		return CAUSE_FIXED;
	if (m->now < s->held_until && s->held > policy)
		return CAUSE_HELD;
	if (!s->asked_ns)
		return CAUSE_NEW;
	if (s->scheduled > policy)
		return CAUSE_SCHEDULE;
	if (s->waking && !policy)
		return CAUSE_WAKING;
	if (m->now < s->awaited_until && !policy)
		return CAUSE_AWAITED;
	return s->answering > policy ? CAUSE_ANSWERING : CAUSE_POLICY;
}

static const char *cause_word(const struct matter *m)
{
	static const char *const words[] = {
		[CAUSE_ASLEEP] = "asleep",	 [CAUSE_HELD] = "held",
		[CAUSE_WAKING] = "waking",	 [CAUSE_FIXED] = "fixed",
		[CAUSE_ROLLOUT] = "rollout",	 [CAUSE_NEW] = "new",
		[CAUSE_AWAITED] = "awaited",	 [CAUSE_SCHEDULE] = "schedule",
		[CAUSE_ANSWERING] = "answering", [CAUSE_SWAPPED] = "swapped",
	};
	enum cause cause = cause_of(m);

	if (cause != CAUSE_POLICY)
		return words[cause];
	return m->spec->scale.policy == SCALE_BY_CORTEX
		       ? "cortex"
		       : scale_why_word(m->scale->advice.why);
}

/* ---- in words ---- */

static void say_what(const struct matter *m)
{
	struct count wanted = count_of(m->requested, "replica");

	say(m,
	    "%s %s wanted, %u ready, %u starting (min_replicas %u, "
	    "max_replicas %u).",
	    wanted.text, are(m->requested), m->ready, m->places - m->ready,
	    m->spec->scale.min_replicas, m->spec->scale.max_replicas);
}

static void say_idle(const struct matter *m)
{
	const struct scale *s = m->scale;
	struct span load = span_of(s->view.load);

	if (m->spec->scale.keep_idle_ms) {
		say(m,
		    "No request has come for keep_idle. The next one starts "
		    "a replica, which takes %s, and waits for it.",
		    load.text);
		return;
	}
	say(m,
	    "No request comes, and keeping a replica for the next one is "
	    "not worth it: a start takes %s.",
	    load.text);
	say(m, "The next request starts one and waits for it. Longer max_wait "
	       "and smaller wait_worth let replicas go sooner, the other way "
	       "round later; keep_idle says when.");
}

static void say_needed(const struct matter *m)
{
	const struct scale *s = m->scale;
	struct span service = span_of(s->view.service);
	/* What policy looks at: the time that one takes and may wait. */
	uint64_t window = s->view.service +
			  m->spec->scale.max_wait_ms * UINT64_C(1000000);
	double came = s->advice.rate * (double)window / 1e9;

	say(m,
	    "%s came within %s, the time that one takes (%s) and may wait "
	    "(max_wait, %s); a replica serves %u at once: that takes %s.",
	    count_of((unsigned)lround(came), "request").text,
	    span_of(window).text, service.text, max_wait_of(m).text,
	    s->view.slots, count_of(s->advice.needed, "replica").text);
	if (m->requested > m->spec->scale.min_replicas + 1)
		say(m,
		    "More are started above %.3g requests per second; one "
		    "fewer is needed below %.3g.",
		    enough_for(m, m->requested),
		    enough_for(m, m->requested - 1));
	else
		say(m, "More are started above %.3g requests per second.",
		    enough_for(m, m->requested));
}

static void say_kept(const struct matter *m)
{
	const struct scale_advice *d = &m->scale->advice;
	struct span kept = span_of(d->kept);

	if (m->spec->scale.keep_idle_ms)
		say(m,
		    "%u %s needed. What is no longer needed is kept for %s "
		    "(keep_idle).",
		    d->needed, are(d->needed), kept.text);
	else
		say(m,
		    "%u %s needed. One more than that is likely to be needed "
		    "again within %s (%.0f%%), which is worth its keep: to "
		    "start it then would cost %.3g replica-seconds, waiting "
		    "included.",
		    d->needed, are(d->needed), kept.text, d->expected * 100,
		    d->price);
	if (d->again > m->now)
		say(m, "If it is not needed one is let go in %s.",
		    span_of(d->again - m->now).text);
}

static void say_cortex(const struct matter *m)
{
	const struct scale *s = m->scale;

	say(m,
	    "By Cortex's formulas: lately %.3g requests were in flight on "
	    "average, by its last tick; a replica is to have %.3g.",
	    s->mean_in_flight, m->spec->scale.target_in_flight);
	say(m,
	    "It ticks every %d s. Fewer than before are wanted only when "
	    "that was the advice for all of "
	    "downscale_stabilization_period (%s), more for all of "
	    "upscale_stabilization_period (%s).",
	    CORTEX_TICK_S,
	    span_of(m->spec->scale.down_period_ms * UINT64_C(1000000)).text,
	    span_of(m->spec->scale.up_period_ms * UINT64_C(1000000)).text);
}

static void say_policy(const struct matter *m)
{
	const struct scale *s = m->scale;
	struct span load = span_of(s->view.load);

	switch (s->advice.why) {
	case SCALE_IDLE:
		say_idle(m);
		break;
	case SCALE_MIN:
		say(m, "%u %s needed; min_replicas asks for more.",
		    s->advice.needed, are(s->advice.needed));
		if (s->view.service)
			say(m,
			    "More are started above %.3g requests per "
			    "second.",
			    enough_for(m, m->requested));
		break;
	case SCALE_MAX:
		say(m, "max_replicas is reached: if more are needed they are "
		       "not started.");
		break;
	case SCALE_NEEDED:
		say_needed(m);
		break;
	case SCALE_BACKLOG:
		say(m,
		    "%s wait, and would wait longer than max_wait (%s) with "
		    "fewer.",
		    count_of(s->view.waiting, "request").text,
		    max_wait_of(m).text);
		break;
	case SCALE_KEPT:
		say_kept(m);
		break;
	case SCALE_ENOUGH:
		say(m,
		    "%u are needed, but another would be ready in %s at the "
		    "earliest, when those who wait now have been served.",
		    s->advice.needed, load.text);
		break;
	case SCALE_FIRST:
		say(m, "How long a request takes is not known yet: while more "
		       "are in flight than there are slots, twice as many "
		       "replicas are tried.");
		break;
	}
}

static void say_why(const struct matter *m)
{
	const struct scale *s = m->scale;

	switch (cause_of(m)) {
	case CAUSE_ASLEEP:
		say(m,
		    "'soma scale %s 0' sent it to sleep; the next request "
		    "wakes it.",
		    m->api->name);
		break;
	case CAUSE_SWAPPED:
		say(m, "It had nothing to do, and requests of others waited "
		       "for its memory; its next request claims some again.");
		break;
	case CAUSE_HELD:
		say(m,
		    "'soma scale %s %u' asked for no fewer; that holds for "
		    "another %s.",
		    m->api->name, s->held,
		    span_of(s->held_until - m->now).text);
		break;
	case CAUSE_SCHEDULE:
		say(m,
		    "autoscaling.schedule asks for no fewer than %u at "
		    "this time.",
		    s->scheduled);
		break;
	case CAUSE_WAKING:
		say(m, "A request found no replica; one is being started for "
		       "it.");
		break;
	case CAUSE_AWAITED:
		say(m,
		    "A request that found none was told to come again; one "
		    "is kept for it for another %s.",
		    span_of(s->awaited_until - m->now).text);
		break;
	case CAUSE_ANSWERING:
		say(m,
		    "%s %s still passing on answers that their clients have "
		    "not taken yet.",
		    count_of(s->answering, "replica").text, are(s->answering));
		break;
	case CAUSE_FIXED:
		say(m, "min_replicas and max_replicas are the same, so nothing "
		       "is decided; a larger autoscaling.max_replicas lets the "
		       "load decide.");
		break;
	case CAUSE_ROLLOUT:
		say(m, "The revision has to prove that it can start.");
		break;
	case CAUSE_NEW:
		say(m, "No request has come yet.");
		break;
	case CAUSE_POLICY:
		if (m->spec->scale.policy == SCALE_BY_CORTEX)
			say_cortex(m);
		else
			say_policy(m);
		break;
	}
}

static void say_numbers(const struct matter *m)
{
	const struct scale *s = m->scale;
	const struct scale_view *v = &s->view;
	const struct revision *rev = m->api->want;
	struct span load = span_of(v->load);

	if (scale_rate(m->api) > 0)
		say(m, "In the last 10 s %.3g requests came per second.",
		    scale_rate(m->api));
	if (!s->asked_ns)
		return;
	if (m->spec->scale.policy == SCALE_BY_CORTEX) {
		say(m, "Looked at %s ago: %u in flight, %u of them waiting.",
		    span_of(m->now - s->asked_ns).text, v->in_flight,
		    v->waiting);
		return;
	}
	say(m,
	    "Looked at %s ago: %u in flight, %u of them waiting; each takes "
	    "%s; a replica serves %u at once; a start takes %s (%s).",
	    span_of(m->now - s->asked_ns).text, v->in_flight, v->waiting,
	    v->service ? span_of(v->service).text : "an unknown time", v->slots,
	    load.text,
	    scale_load_ns(rev) ? cold_tier_word(scale_next_tier(rev))
			       : "assumed, none was seen");
}

static void say_buffer(const struct matter *m)
{
	unsigned n = m->spec->scale.buffer_replicas;

	if (n && m->scale->advice.needed)
		say(m,
		    "While any is needed there %s %s more "
		    "(buffer_replicas).",
		    are(n), count_of(n, "replica").text);
}

static void say_memory(const struct matter *m)
{
	struct revision *rev = m->api->want;
	cleanup_free char *need = swap_need_text(rev), *stay = NULL;
	cleanup_free char *large = model_set_large_text(&rev->models);

	if (large)
		say(m, "Mind that %s.", large);
	if (!need)
		return;
	say(m, "%s", need);
	stay = rev->starving ? swap_text(rev) : swap_stay_text(rev);
	if (stay)
		say(m, rev->starving ? "There is none for it now: %s." : "%s",
		    stay);
}

static void say_hopeless(const struct matter *m, const char *cause)
{
	uint64_t again_ms = revision_again_ms(m->api->want);

	say(m, "It cannot start: %s.", cause);
	if (again_ms)
		say(m,
		    "It is tried again in %s; requests are answered 503 at "
		    "once until then.",
		    span_of(again_ms * 1000000).text);
}

static void say_trouble(const struct matter *m)
{
	const struct revision *rev = m->api->want;
	const char *cause = rev->message ? rev->message : "see 'soma logs'";

	if (rev->env && rev->env->state == ENVIRONMENT_BUILDING)
		say(m, "Its environment is being installed; replicas start "
		       "when that is there.");
	else if (revision_cannot_start(rev))
		say_hopeless(m, cause);
	else if (m->places >= m->requested)
		return;
	else if (rev->starving)
		say(m, "Fewer are there than wanted: %s.", cause);
	else if (revision_is_dying(rev))
		say(m,
		    "Fewer are tried than wanted, since one dies before it "
		    "is ready: %s.",
		    cause);
}

/* ---- in numbers ---- */

static void put_ms(const struct matter *m, yyjson_mut_val *o, const char *key,
		   uint64_t ns)
{
	if (ns)
		yyjson_mut_obj_add_real(m->doc, o, key,
					round((double)ns / 1e3) / 1e3);
	else
		yyjson_mut_obj_add_null(m->doc, o, key);
}

static void put_numbers(const struct matter *m, yyjson_mut_val *root)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(m->doc, root, "numbers");
	const struct scale *s = m->scale;
	const struct scale_view *v = &s->view;

	yyjson_mut_obj_add_uint(m->doc, o, "needed", s->advice.needed);
	yyjson_mut_obj_add_uint(m->doc, o, "in_flight", v->in_flight);
	yyjson_mut_obj_add_uint(m->doc, o, "waiting", v->waiting);
	yyjson_mut_obj_add_real(m->doc, o, "rate_per_s", scale_rate(m->api));
	yyjson_mut_obj_add_uint(m->doc, o, "slots", v->slots);
	put_ms(m, o, "service_ms", v->service);
	put_ms(m, o, "load_ms", scale_load_ns(m->api->want));
	put_ms(m, o, "kept_ms", s->advice.kept);
	yyjson_mut_obj_add_real(m->doc, o, "expected", s->advice.expected);
	yyjson_mut_obj_add_real(m->doc, o, "price_s", s->advice.price);
}

char *explain_json(const struct api *a)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	const struct revision *rev = a->want;
	struct matter m = {.api = a, .scale = &a->scale, .doc = doc};

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "name", a->name);
	m.lines = yyjson_mut_arr(doc);
	m.now = uv_hrtime();
	if (!rev) {
		say(&m, "It has no revision: %s.",
		    a->broken ? a->broken : "it is being deleted");
	} else {
		m.spec = rev->spec;
		m.requested = revision_requested(rev);
		m.ready = revision_ready(rev);
		m.places = revision_places(rev);
		yyjson_mut_obj_add_uint(doc, root, "requested", m.requested);
		yyjson_mut_obj_add_uint(doc, root, "ready", m.ready);
		yyjson_mut_obj_add_uint(doc, root, "loading",
					m.places - m.ready);
		yyjson_mut_obj_add_str(doc, root, "why", cause_word(&m));
		put_numbers(&m, root);
		say_what(&m);
		say_why(&m);
		say_buffer(&m);
		say_numbers(&m);
		say_memory(&m);
		say_trouble(&m);
	}
	yyjson_mut_obj_add_val(doc, root, "text", m.lines);
	return json_write(doc, NULL);
}
