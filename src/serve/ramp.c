/*
 * A ramp belongs to a revision of its splitter: what is deployed anew begins
 * anew. Its weight is the splitter's from each move on, and what is known of
 * the step is kept (scale_keep.c), so that another daemon goes on from there.
 *
 *   STEPS ──▶ DONE   behind the last step: it has `end`
 *     ╰─────▶ BACK   it has what the file gives it
 */
#include "serve/ramp.h"

#include <string.h>

#include "core/mem.h"
#include "serve/scale_parts.h"
#include "serve/serve.h"

enum { STEPS_MAX = 1000 };

static const char *const words[] = {
	[RAMP_STEPS] = "stepping", [RAMP_DONE] = "done", [RAMP_BACK] = "back"};

const char *ramp_word(const struct ramp *r)
{
	return words[r->state];
}

void ramp_free(struct ramp *r)
{
	if (!r)
		return;
	list_remove(&r->link);
	free(r->steps);
	free(r->why);
	free(r);
}

static uint32_t weight_of(const struct ramp *r)
{
	if (r->state == RAMP_STEPS)
		return r->steps[r->now.step];
	return r->state == RAMP_DONE ? r->end : r->target->declared;
}

static uint64_t in_step_ms(const struct ramp *r)
{
	return r->before_ms + uv_now(r->api->serve->loop) - r->since;
}

static void read_plan(struct ramp *r, yyjson_val *canary)
{
	yyjson_val *list = yyjson_obj_get(canary, "steps"), *val;
	size_t i, n, count = yyjson_arr_size(list);

	r->steps = mem_alloc(MAX(count, (size_t)1) * sizeof *r->steps);
	yyjson_arr_foreach(list, i, n, val) r->steps[i] =
		(uint32_t)yyjson_get_uint(val);
	r->plan = (struct canary_plan){
		.steps = (uint32_t)count,
		.every_ms = (uint64_t)json_int(canary, "every_ms",
					       SPEC_CANARY_EVERY_MS),
		.min_requests = (uint64_t)json_int(canary, "min_requests",
						   SPEC_CANARY_REQUESTS),
		.max_errors =
			json_num(canary, "max_errors", SPEC_CANARY_ERRORS) /
			100,
	};
	r->end = (uint32_t)json_int(canary, "end", SPEC_CANARY_END);
}

/* ---- what outlives the daemon ---- */

static void put_side(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *name,
		     struct chance_sample side)
{
	yyjson_mut_val *v = yyjson_mut_obj_add_obj(doc, o, name);

	yyjson_mut_obj_add_uint(doc, v, "requests", side.requests);
	yyjson_mut_obj_add_uint(doc, v, "errors", side.errors);
}

void ramp_keep(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct api *a)
{
	const struct ramp *r = a->splitter ? a->splitter->ramp : NULL;
	yyjson_mut_val *o;

	/* Nothing has come of it yet. */
	if (!a->splitter && a->ramp_kept)
		yyjson_mut_obj_add(root, yyjson_mut_str(doc, "canary"),
				   yyjson_mut_raw(doc, a->ramp_kept));
	if (!r)
		return;
	o = yyjson_mut_obj_add_obj(doc, root, "canary");
	yyjson_mut_obj_add_int(doc, o, "revision", a->splitter->revision);
	yyjson_mut_obj_add_str(doc, o, "state", ramp_word(r));
	yyjson_mut_obj_add_uint(doc, o, "step", r->now.step);
	yyjson_mut_obj_add_uint(doc, o, "in_step_ms", in_step_ms(r));
	put_side(doc, o, "its", r->now.its);
	put_side(doc, o, "others", r->now.others);
	yyjson_mut_obj_add_uint(doc, o, "looks", r->now.looks);
	yyjson_mut_obj_add_uint(doc, o, "next_look", r->now.next_look);
	if (r->why)
		yyjson_mut_obj_add_strcpy(doc, o, "why", r->why);
}

void ramp_recall(struct api *a, yyjson_val *kept)
{
	free(a->ramp_kept);
	a->ramp_kept = yyjson_is_obj(kept) ? json_write_val(kept, NULL) : NULL;
}

static uint64_t count(yyjson_val *obj, const char *key)
{
	return (uint64_t)MAX(json_int(obj, key, 0), (int64_t)0);
}

static struct chance_sample side_of(yyjson_val *o, const char *name)
{
	yyjson_val *v = yyjson_obj_get(o, name);
	struct chance_sample side = {count(v, "requests"), count(v, "errors")};

	side.errors = MIN(side.errors, side.requests);
	return side;
}

static void take_up(struct ramp *r, int64_t revision, const char *json)
{
	cleanup_json yyjson_doc *doc =
		json ? json_parse(json, strlen(json), NULL) : NULL;
	yyjson_val *o = yyjson_doc_get_root(doc);
	const char *state = json_str(o, "state", "");
	uint64_t step = count(o, "step");

	if (json_int(o, "revision", -1) != revision || step >= r->plan.steps)
		return;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(state, words[i]) == 0)
			r->state = (enum ramp_state)i;
	r->before_ms = count(o, "in_step_ms");
	r->now = (struct canary){
		.step = (uint32_t)step,
		.its = side_of(o, "its"),
		.others = side_of(o, "others"),
		.looks = (uint32_t)count(o, "looks"),
		.next_look = count(o, "next_look"),
	};
	r->why = mem_strdup(json_str(o, "why", NULL));
}

/* ---- moves ---- */

static void set_weights(const struct ramp *r)
{
	splitter_set_weights(r->api->splitter, r->target, weight_of(r));
}

void ramp_begin(struct api *a, struct splitter *sp, yyjson_val *canary)
{
	struct ramp *r = mem_alloc(sizeof *r);

	*r = (struct ramp){.api = a, .since = uv_now(a->serve->loop)};
	list_init(&r->link);
	read_plan(r, canary);
	for (size_t i = 0; i < sp->n; i++)
		if (strcmp(sp->targets[i].name, json_str(canary, "api", "")) ==
		    0)
			r->target = &sp->targets[i];
	/* A spec that no parser of ours has made. */
	if (!r->target || !r->plan.steps || r->plan.steps > STEPS_MAX) {
		ramp_free(r);
		return;
	}
	take_up(r, sp->revision, a->ramp_kept);
	sp->ramp = r;
	splitter_set_weights(sp, r->target, weight_of(r));
	if (r->state == RAMP_STEPS)
		list_push_back(&a->serve->ramps, &r->link);
}

static double percent(struct chance_sample s)
{
	return s.requests ? 100 * (double)s.errors / (double)s.requests : 0;
}

/* "3 of its 120 requests failed (2.5%), of the others' 5 of 2280 (0.22%)" */
static char *numbers(const struct canary *c)
{
	return mem_printf("%llu of its %llu requests failed (%.3g%%), of the "
			  "others' %llu of %llu (%.3g%%)",
			  (unsigned long long)c->its.errors,
			  (unsigned long long)c->its.requests, percent(c->its),
			  (unsigned long long)c->others.errors,
			  (unsigned long long)c->others.requests,
			  percent(c->others));
}

/* How improbable that is, of the two tests by the weaker one. */
static char *reason(const struct ramp *r, const struct canary_verdict *v)
{
	if (!r->now.others.requests)
		return mem_printf("; with the %.3g%% that may (max_errors) "
				  "that has a probability of %.2g",
				  r->plan.max_errors * 100, v->as_allowed);
	return mem_printf("; were it as good as they, so many would have a "
			  "probability of %.2g",
			  v->as_others);
}

static void moved(struct ramp *r, const char *type)
{
	struct api *a = r->api;

	r->before_ms = 0;
	r->since = uv_now(a->serve->loop);
	set_weights(r);
	api_event(a, a->splitter->revision, type, NULL, NULL, "%s", r->why);
	if (r->state != RAMP_STEPS) {
		list_remove(&r->link);
		list_init(&r->link);
	}
	scale__keep(a, NULL, NULL);
}

static void go_on(struct ramp *r, const struct canary *was, bool end)
{
	cleanup_free char *had = numbers(was);
	uint32_t from = weight_of(r);

	if (end)
		r->state = RAMP_DONE;
	else
		from = r->steps[was->step];
	free(r->why);
	r->why = mem_printf("%s: from %u%% to %u%%%s: %s", r->target->name,
			    from, weight_of(r), end ? ", its end" : "", had);
	moved(r, end ? "canary_done" : "canary_step");
}

static void go_back(struct ramp *r, const struct canary_verdict *v)
{
	cleanup_free char *had = numbers(&r->now);
	cleanup_free char *because = reason(r, v);
	uint32_t from = weight_of(r);

	r->state = RAMP_BACK;
	free(r->why);
	r->why = mem_printf("%s: back from %u%% to %u%%: %s%s", r->target->name,
			    from, weight_of(r), had, because);
	moved(r, "canary_back");
	history_failed(r->api, r->api->splitter->revision, r->why, 0);
}

static void decide(struct ramp *r)
{
	struct canary was = r->now;
	struct canary_verdict v =
		canary_decide(&r->plan, &r->now, in_step_ms(r));

	switch (v.move) {
	case CANARY_STAY:
		break;
	case CANARY_ON:
	case CANARY_END:
		go_on(r, &was, v.move == CANARY_END);
		break;
	case CANARY_BACK:
		go_back(r, &v);
		break;
	}
}

static bool acts(const struct api *a)
{
	return !a->serve->yielded && !a->serve->stopping && !a->deleting;
}

void ramp_add(struct api *a, const char *target, bool failed)
{
	struct ramp *r = a->splitter ? a->splitter->ramp : NULL;

	if (!r || r->state != RAMP_STEPS || !acts(a))
		return;
	canary_add(&r->now, strcmp(r->target->name, target) == 0, failed);
	scale__changed(a);
	decide(r);
}

void ramp_tick(struct serve *s)
{
	struct list *it, *tmp;

	LIST_EACH (&s->ramps, it, tmp) {
		struct ramp *r = LIST_ENTRY(it, struct ramp, link);

		if (!acts(r->api))
			continue;
		scale__changed(r->api); /* the time in the step is */
		decide(r);
	}
}

/* ---- telling ---- */

static void put_now(yyjson_mut_doc *doc, yyjson_mut_val *o,
		    const struct ramp *r)
{
	uint64_t in_step = r->state == RAMP_STEPS ? in_step_ms(r) : 0;

	yyjson_mut_obj_add_uint(doc, o, "step", r->now.step + 1);
	yyjson_mut_obj_add_uint(doc, o, "in_step_ms", in_step);
	yyjson_mut_obj_add_uint(doc, o, "requests", r->now.its.requests);
	yyjson_mut_obj_add_uint(doc, o, "errors", r->now.its.errors);
	put_side(doc, o, "others", r->now.others);
}

void ramp_put(yyjson_mut_doc *doc, yyjson_mut_val *top,
	      const struct splitter *sp)
{
	const struct ramp *r = sp->ramp;
	yyjson_mut_val *o, *list;

	if (!r) {
		yyjson_mut_obj_add_null(doc, top, "canary");
		return;
	}
	o = yyjson_mut_obj_add_obj(doc, top, "canary");
	yyjson_mut_obj_add_strcpy(doc, o, "api", r->target->name);
	yyjson_mut_obj_add_str(doc, o, "state", ramp_word(r));
	yyjson_mut_obj_add_uint(doc, o, "weight", r->target->weight);
	list = yyjson_mut_obj_add_arr(doc, o, "steps");
	for (uint32_t i = 0; i < r->plan.steps; i++)
		yyjson_mut_arr_add_uint(doc, list, r->steps[i]);
	yyjson_mut_obj_add_uint(doc, o, "end", r->end);
	yyjson_mut_obj_add_uint(doc, o, "back", r->target->declared);
	yyjson_mut_obj_add_uint(doc, o, "every_ms", r->plan.every_ms);
	yyjson_mut_obj_add_uint(doc, o, "min_requests", r->plan.min_requests);
	yyjson_mut_obj_add_real(doc, o, "max_errors", r->plan.max_errors * 100);
	put_now(doc, o, r);
	if (r->why)
		yyjson_mut_obj_add_strcpy(doc, o, "why", r->why);
	else
		yyjson_mut_obj_add_null(doc, o, "why");
}

char *ramp_words(const struct api *a)
{
	const struct ramp *r = a->splitter ? a->splitter->ramp : NULL;

	if (!r)
		return NULL;
	if (r->state != RAMP_STEPS)
		return mem_strdup(r->why);
	return mem_printf("%s: step %u of %u, %u%%", r->target->name,
			  r->now.step + 1, r->plan.steps, weight_of(r));
}
