/* model_set_tell.c: what is said of a revision's models: to its replicas, and
 * to who asks. */
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "core/str.h"
#include "serve/memory.h"
#include "serve/model_set.h"
#include "serve/serve.h"

static const struct model_item *find(const struct model_set *set,
				     const char *name)
{
	for (size_t i = 0; i < set->n; i++)
		if (strcmp(set->items[i].name, name) == 0)
			return &set->items[i];
	return NULL;
}

/* A live one by the link that is looked at, others by what they are. */
static yyjson_mut_val *place(const struct model_set *set, yyjson_mut_doc *doc,
			     const struct model_item *item)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	const char *path = item->model && set->live ? item->pin : item->place;

	yyjson_mut_obj_add_strcpy(doc, o, "path", path ? path : "");
	yyjson_mut_obj_add_strcpy(doc, o, "source", item->source);
	yyjson_mut_obj_add_bool(doc, o, "in_place", !item->model);
	return o;
}

static void put_place(const struct model_set *set, yyjson_mut_doc *doc,
		      yyjson_mut_val *block, const char *key, const char *name)
{
	const struct model_item *item = find(set, name);

	if (item && yyjson_mut_obj_get(block, key))
		yyjson_mut_obj_replace(block, yyjson_mut_str(doc, key),
				       place(set, doc, item));
}

yyjson_mut_val *model_set_config(const struct model_set *set,
				 yyjson_mut_doc *doc)
{
	const char *text = set->rev->spec->predictor.models_json;
	cleanup_json yyjson_doc *parsed =
		text ? json_parse(text, strlen(text), NULL) : NULL;
	yyjson_mut_val *block, *item;
	size_t i, n;

	if (!parsed)
		return yyjson_mut_null(doc);
	block = yyjson_val_mut_copy(doc, yyjson_doc_get_root(parsed));
	put_place(set, doc, block, "path", "_");
	put_place(set, doc, block, "dir", "_");
	yyjson_mut_arr_foreach(yyjson_mut_obj_get(block, "paths"), i, n, item)
		put_place(set, doc, item, "path",
			  yyjson_mut_get_str(yyjson_mut_obj_get(item, "name")));
	return block;
}

static const char *state_word(const struct model_item *item)
{
	static const char *const words[] = {[MODEL_FETCHING] = "fetching",
					    [MODEL_READY] = "ready",
					    [MODEL_FAILED] = "failed"};

	if (item->place)
		return "ready";
	return item->model ? words[item->model->state] : "waiting";
}

static void put_text(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key,
		     const char *text)
{
	if (text)
		yyjson_mut_obj_add_strcpy(doc, o, key, text);
	else
		yyjson_mut_obj_add_null(doc, o, key);
}

static void put_item(yyjson_mut_doc *doc, yyjson_mut_val *o,
		     const struct model_item *item)
{
	const struct model *m = item->model;
	double eta = m ? model_eta_s(m) : -1;

	yyjson_mut_obj_add_strcpy(doc, o, "name", item->name);
	yyjson_mut_obj_add_strcpy(doc, o, "source", item->source);
	yyjson_mut_obj_add_str(doc, o, "state", state_word(item));
	put_text(doc, o, "path", item->place);
	put_text(doc, o, "message", m ? m->message : NULL);
	if (item->bytes)
		yyjson_mut_obj_add_uint(doc, o, "bytes", item->bytes);
	if (!m || item->place || m->state != MODEL_FETCHING)
		return;
	yyjson_mut_obj_add_uint(doc, o, "bytes_done", m->done);
	yyjson_mut_obj_add_uint(doc, o, "bytes_total", m->total);
	yyjson_mut_obj_add_uint(doc, o, "bytes_per_s", m->rate);
	if (eta >= 0)
		yyjson_mut_obj_add_real(doc, o, "eta_s", eta);
	else
		yyjson_mut_obj_add_null(doc, o, "eta_s");
}

void model_set_put(const struct model_set *set, yyjson_mut_doc *doc,
		   yyjson_mut_val *root)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "models");

	for (size_t i = 0; i < set->n; i++)
		put_item(doc, yyjson_mut_arr_add_obj(doc, list),
			 &set->items[i]);
}

bool model_set_loading(const struct model_set *set, uint64_t *ret_done,
		       uint64_t *ret_total, double *ret_eta_s)
{
	uint64_t done = 0, total = 0;
	double eta = 0;
	bool any = false, known = true;

	for (size_t i = 0; i < set->n; i++) {
		const struct model *m = set->items[i].model;

		if (!m || set->items[i].place || m->state != MODEL_FETCHING)
			continue;
		any = true;
		done += m->done;
		total += m->total;
		known = known && m->total && model_eta_s(m) >= 0;
		/* They come beside each other. */
		eta = fmax(eta, model_eta_s(m));
	}
	*ret_done = done;
	*ret_total = known ? total : 0;
	*ret_eta_s = known ? eta : -1;
	return any;
}

char *model_set_large_text(const struct model_set *set)
{
	uint64_t bytes = 0, memory;
	char has[32], all[32];

	/* What the api's own code loads it may load in turn. */
	if (!set->n || set->live)
		return NULL;
	memory = memory_total(set->rev->api->serve);
	for (size_t i = 0; i < set->n; i++)
		bytes += set->items[i].bytes;
	if (bytes <= memory)
		return NULL;
	str_human_bytes(bytes, has);
	str_human_bytes(memory, all);
	return mem_printf("%s %s, which is more than the %s of memory: %s used "
			  "where %s on the disk, and what memory does not hold "
			  "is read again whenever it is used, up to %s for a "
			  "request that uses all of it",
			  set->n == 1 ? "its model has" : "its models have",
			  has, all, set->n == 1 ? "it is" : "they are",
			  set->n == 1 ? "it lies" : "they lie", has);
}

size_t model_set_needs(const struct model_set *set, const char **need)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		if (set->items[i].place)
			need[n++] = set->items[i].place;
	return n;
}
