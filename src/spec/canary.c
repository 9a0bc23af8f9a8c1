/* What a TrafficSplitter's canary gets, step by step: keys that must agree. */
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

#define C "canary."

enum { STEP_MAX = 99 };

/* A quoted number is a text, as elsewhere. */
static bool is_step(struct node *item, int64_t *ret)
{
	return item->type == NODE_SCALAR && !item->quoted &&
	       node_int(item, ret) && *ret >= 1 && *ret <= STEP_MAX;
}

void canary_read_steps(struct reader *r, const struct key *k, struct node *n)
{
	int64_t before = 0, percent;

	if (n->type != NODE_LIST || !value_in_range(k, n->n)) {
		value_unexpected(
			r, k, n,
			arena_printf(&r->set->arena,
				     "a list%s percentages such as "
				     "[5, 25, 50]",
				     value_range_text(&r->set->arena, k)));
		n->bad = true;
		return;
	}
	for (uint32_t i = 0; i < n->n && !n->bad; i++) {
		struct node *item = n->items[i];
		const char *path =
			arena_printf(&r->set->arena, "%s[%u]", k->path, i);

		if (!is_step(item, &percent))
			problem_error(r, item, path,
				      "expected an integer from 1 to %d, found "
				      "%s",
				      STEP_MAX, node_shown(r, item));
		else if (percent <= before)
			problem_error(r, item, path,
				      "%lld is no more than the step before, "
				      "%lld: let the steps grow",
				      (long long)percent, (long long)before);
		else {
			before = percent;
			continue;
		}
		n->bad = true;
	}
}

/* The one of apis that has that name, or NULL. */
static struct node *target_of(struct node *api, const char *name)
{
	struct node *list = rules__good(api, "apis");

	for (uint32_t i = 0; list && i < list->n; i++) {
		struct node *n = node_get(list->items[i], "name");

		if (n && n->type == NODE_SCALAR && strcmp(n->text, name) == 0)
			return list->items[i];
	}
	return NULL;
}

static bool is_shadow(struct node *item)
{
	struct node *n = node_get(item, "shadow");
	bool shadow = false;

	return n && node_bool(n, &shadow) && shadow;
}

/* Whether anybody else answers. */
static bool is_alone(struct node *api, struct node *item)
{
	struct node *list = rules__good(api, "apis");

	for (uint32_t i = 0; list && i < list->n; i++)
		if (list->items[i] != item && !is_shadow(list->items[i]))
			return false;
	return true;
}

/* Its weight in apis, or -1: it is no canary, which has been told. */
static int64_t weight_of(struct reader *r, struct node *api, struct node *name)
{
	struct node *item = target_of(api, name->text);
	struct node *weight = item ? node_get(item, "weight") : NULL;
	int64_t percent;

	if (!item)
		problem_error(r, name, C "api",
			      "%s is none of this splitter's apis: add it "
			      "there, with the weight that it goes back to, "
			      "such as 0",
			      problem_quote(r, name->text));
	else if (is_shadow(item))
		problem_error(r, name, C "api",
			      "%s is the shadow, which answers nobody: take "
			      "'shadow: true' at line %u out, or name another",
			      problem_quote(r, name->text), item->line);
	else if (is_alone(api, item))
		problem_error(r, name, C "api",
			      "%s is the only api that answers, and what it "
			      "does not get goes to nobody: add another",
			      problem_quote(r, name->text));
	else if (weight && !weight->bad && node_int(weight, &percent))
		return percent;
	return -1;
}

/* The first and the last, or false. */
static bool ends_of(struct node *steps, int64_t *ret_first, int64_t *ret_last)
{
	return steps && steps->type == NODE_LIST && steps->n &&
	       node_int(steps->items[0], ret_first) &&
	       node_int(steps->items[steps->n - 1], ret_last);
}

static void check_ends(struct reader *r, struct node *api, struct node *steps,
		       int64_t weight)
{
	struct node *end = rules__good(api, C "end");
	int64_t first, last, percent;

	if (!ends_of(steps, &first, &last))
		return;
	if (first <= weight)
		problem_error(r, steps->items[0], C "steps",
			      "they begin with %lld, which is no more than its "
			      "weight in apis, %lld: give it less there, or "
			      "begin above",
			      (long long)first, (long long)weight);
	if (end && node_int(end, &percent) && percent <= last)
		problem_error(r, end, C "end",
			      "%lld is no more than the last step, %lld: leave "
			      "that step out, or give more",
			      (long long)percent, (long long)last);
}

static void add_number(struct node *api, const char *path, yyjson_mut_doc *doc,
		       yyjson_mut_val *obj, const char *name, int64_t v)
{
	struct node *n = rules__good(api, path);

	if (n)
		node_int(n, &v);
	yyjson_mut_obj_add_int(doc, obj, name, v);
}

static void add_every(struct reader *r, struct node *api, yyjson_mut_doc *doc,
		      yyjson_mut_val *obj)
{
	struct node *n = rules__good(api, C "every");
	union value v = {.i = SPEC_CANARY_EVERY_MS};

	if (n)
		value_read(r, key_find(C "every"), n, &v);
	yyjson_mut_obj_add_int(doc, obj, "every_ms", v.i);
}

static void add_max_errors(struct node *api, yyjson_mut_doc *doc,
			   yyjson_mut_val *obj)
{
	struct node *n = rules__good(api, C "max_errors");
	double percent = SPEC_CANARY_ERRORS;

	if (n)
		node_float(n, &percent);
	yyjson_mut_obj_add_real(doc, obj, "max_errors", percent);
}

static void add_steps(struct node *steps, yyjson_mut_doc *doc,
		      yyjson_mut_val *obj)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, obj, "steps");
	int64_t percent;

	for (uint32_t i = 0; i < steps->n; i++)
		if (node_int(steps->items[i], &percent))
			yyjson_mut_arr_add_int(doc, list, percent);
}

void rules__canary(struct reader *r, struct node *api, yyjson_mut_doc *doc,
		   yyjson_mut_val *root)
{
	struct node *name = rules__good(api, C "api");
	struct node *steps = rules__good(api, C "steps");
	yyjson_mut_val *obj;
	int64_t weight;

	/* What is missing or no name was reported. */
	if (!name || name->type != NODE_SCALAR || !steps)
		return;
	weight = weight_of(r, api, name);
	if (weight < 0)
		return;
	check_ends(r, api, steps, weight);
	obj = yyjson_mut_obj_add_obj(doc, root, "canary");
	yyjson_mut_obj_add_strcpy(doc, obj, "api", name->text);
	add_steps(steps, doc, obj);
	add_number(api, C "end", doc, obj, "end", SPEC_CANARY_END);
	add_every(r, api, doc, obj);
	add_number(api, C "min_requests", doc, obj, "min_requests",
		   SPEC_CANARY_REQUESTS);
	add_max_errors(api, doc, obj);
}
