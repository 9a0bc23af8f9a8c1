/* What a TrafficSplitter shares requests out to: keys that must agree. */
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

struct sum {
	int64_t weights;
	bool whole; /* all of them could be read */
	struct node *shadow;
};

static bool is_shadow(struct node *item)
{
	struct node *n = node_get(item, "shadow");
	bool shadow = false;

	return n && !n->bad && node_bool(n, &shadow) && shadow;
}

/* Each of its keys was read by its row already. */
static void add_target(struct reader *r, struct node *item, struct sum *sum,
		       yyjson_mut_doc *doc, yyjson_mut_val *list)
{
	struct node *name = node_get(item, "name");
	struct node *weight = node_get(item, "weight");
	bool shadow = is_shadow(item);
	yyjson_mut_val *obj;
	int64_t percent;

	if (!name || name->bad || name->type != NODE_SCALAR || !weight ||
	    weight->bad || !node_int(weight, &percent)) {
		sum->whole = false;
		return; /* was reported */
	}
	if (shadow && sum->shadow)
		problem_error(r, node_get(item, "shadow"), "apis[].shadow",
			      "there is a shadow at line %u already, and only "
			      "one may be: take 'shadow: true' out of one of "
			      "them",
			      sum->shadow->line);
	if (shadow)
		sum->shadow = item;
	else
		sum->weights += percent;
	obj = yyjson_mut_arr_add_obj(doc, list);
	yyjson_mut_obj_add_strcpy(doc, obj, "name", name->text);
	yyjson_mut_obj_add_int(doc, obj, "weight", percent);
	yyjson_mut_obj_add_bool(doc, obj, "shadow", shadow);
}

static void check_twice(struct reader *r, struct node *list)
{
	for (uint32_t i = 0; i < list->n; i++) {
		struct node *a = node_get(list->items[i], "name");

		for (uint32_t k = 0; a && !a->bad && k < i; k++) {
			struct node *b = node_get(list->items[k], "name");

			if (!b || b->bad || strcmp(a->text, b->text) != 0)
				continue;
			problem_error(r, a, "apis[].name",
				      "%s is at line %u already: give it one "
				      "weight",
				      problem_quote(r, a->text), b->line);
			break;
		}
	}
}

static void add_options(struct node *api, yyjson_mut_doc *doc,
			yyjson_mut_val *root)
{
	struct node *header = rules__good(api, "sticky.header");
	struct node *tolerance = rules__good(api, "shadow_compare.tolerance");
	double v = SPEC_TOLERANCE;

	if (header)
		yyjson_mut_obj_add_strcpy(doc, root, "sticky", header->text);
	if (tolerance)
		node_float(tolerance, &v);
	yyjson_mut_obj_add_real(doc, root, "tolerance", v);
}

/* It runs nothing: no replicas, no environment, no reservation. */
static void fill_rest(struct reader *r, struct spec *spec)
{
	spec->predictor.type = PREDICTOR_COMMAND;
	spec->compute.cpu_millis = 0;
	spec->scale.min_replicas = spec->scale.max_replicas = 0;
	spec->scale.init_replicas = 0;
	rules_fill(spec);
	if (!spec->endpoint && spec->name)
		spec->endpoint =
			arena_printf(&r->set->arena, "/%s", spec->name);
}

void rules__splitter(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *list = rules__good(api, "apis");
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *items;
	cleanup_free char *text = NULL;
	struct sum sum = {.whole = true};

	fill_rest(r, spec);
	if (!list || list->type != NODE_LIST)
		return; /* was reported */
	yyjson_mut_doc_set_root(doc, root);
	items = yyjson_mut_obj_add_arr(doc, root, "apis");
	for (uint32_t i = 0; i < list->n; i++)
		add_target(r, list->items[i], &sum, doc, items);
	check_twice(r, list);
	if (sum.whole && sum.weights != 100)
		problem_error(r, list, "apis",
			      "the weights of those that are no shadow add up "
			      "to %lld; they are percent: make them 100 "
			      "together",
			      (long long)sum.weights);
	add_options(api, doc, root);
	rules__canary(r, api, doc, root);
	text = json_write(doc, NULL);
	spec->split_json = arena_strdup(&r->set->arena, text);
}

/* The api of that name in this file, or NULL. */
static const struct spec *in_file(const struct spec_set *set, const char *name)
{
	for (uint32_t i = 0; i < set->n_specs; i++)
		if (set->specs[i].name && strcmp(set->specs[i].name, name) == 0)
			return &set->specs[i];
	return NULL;
}

static void check_target(struct reader *r, struct node *name)
{
	const struct spec *spec = in_file(r->set, name->text);
	enum spec_there there = SPEC_UNKNOWN;

	if (spec)
		there = spec->split_json ? SPEC_SPLITTER : SPEC_API;
	else if (r->files && r->files->deployed)
		there = r->files->deployed(r->files->data, name->text);
	if (there == SPEC_SPLITTER)
		problem_error(r, name, "apis[].name",
			      "%s is a TrafficSplitter itself, and one cannot "
			      "send to another: name the apis that it sends to",
			      problem_quote(r, name->text));
	else if (there == SPEC_ABSENT)
		problem_error(r, name, "apis[].name",
			      "there is no api %s, neither deployed nor in "
			      "this file: deploy it first, or add it here",
			      problem_quote(r, name->text));
}

void rules__targets(struct reader *r, struct node *api)
{
	struct node *list = node_find(api, "apis");

	if (!list || list->type != NODE_LIST)
		return;
	for (uint32_t i = 0; i < list->n; i++) {
		struct node *name = node_get(list->items[i], "name");

		if (name && !name->bad && name->type == NODE_SCALAR)
			check_target(r, name);
	}
}
