/* Times at which an api has no fewer replicas. */
#include "core/cron.h"
#include "core/json.h"
#include "core/mem.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

#define SCHEDULE "autoscaling.schedule"

static const char *text_of(const struct node *item, const char *key)
{
	struct node *n = node_get(item, key);

	return n && !n->bad && n->type == NODE_SCALAR ? n->text : NULL;
}

/* Each of its keys was read by its row already. */
static void add_item(struct reader *r, struct node *item,
		     const struct spec *spec, yyjson_mut_doc *doc,
		     yyjson_mut_val *list)
{
	struct node *least = node_get(item, "min_replicas");
	const char *cron = text_of(item, "cron"), *how_long;
	yyjson_mut_val *obj;
	struct cron unused;
	struct err err;
	int64_t n, ms;

	how_long = text_of(item, "for");
	if (!cron || !how_long || !least || least->bad ||
	    !node_int(least, &n) || !str_duration_ms(how_long, &ms))
		return; /* was reported */
	if (cron_parse(&unused, cron, &err)) {
		problem_error(r, node_get(item, "cron"), SCHEDULE "[].cron",
			      "%s %s", problem_quote(r, cron), err.msg);
		return;
	}
	if (n > spec->scale.max_replicas) {
		problem_error(r, least, SCHEDULE "[].min_replicas",
			      "%lld is more than max_replicas, %u",
			      (long long)n, spec->scale.max_replicas);
		return;
	}
	if (n <= spec->scale.min_replicas)
		problem_warn(r, least, SCHEDULE "[].min_replicas",
			     "has no effect: there are never fewer than %u "
			     "(min_replicas); ask for more, or lower that",
			     spec->scale.min_replicas);
	obj = yyjson_mut_arr_add_obj(doc, list);
	yyjson_mut_obj_add_strcpy(doc, obj, "cron", cron);
	yyjson_mut_obj_add_int(doc, obj, "for", ms);
	yyjson_mut_obj_add_int(doc, obj, "min_replicas", n);
}

void rules__schedule(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *list = rules__good(api, SCHEDULE);
	cleanup_json_mut yyjson_mut_doc *doc = NULL;
	yyjson_mut_val *root, *items;
	cleanup_free char *text = NULL;

	if (!list || list->type != NODE_LIST || !list->n)
		return;
	doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, root);
	items = yyjson_mut_obj_add_arr(doc, root, "items");
	for (uint32_t i = 0; i < list->n; i++)
		if (list->items[i]->type == NODE_MAP)
			add_item(r, list->items[i], spec, doc, items);
	text = json_write(doc, NULL);
	spec->scale.schedule_json = arena_strdup(&r->set->arena, text);
}
