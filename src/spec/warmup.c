/* Requests that a new replica answers first. */
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "spec/rules_parts.h"
#include "spec/value.h"

#define W "warmup[]."

/* The value of a key that was given, and given right; or NULL. Each was read by
 * its row already, but for values of any shape. */
static struct node *given(const struct node *item, const char *key)
{
	struct node *n = node_get(item, key);

	return n && !n->bad && !node_is_null(n) ? n : NULL;
}

static void add_text(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key,
		     const struct node *n, const char *otherwise)
{
	yyjson_mut_obj_add_strcpy(doc, obj, key, n ? n->text : otherwise);
}

static void add_any(struct reader *r, yyjson_mut_doc *doc, yyjson_mut_val *obj,
		    const char *key, const char *path, struct node *n)
{
	yyjson_mut_val *value = n ? value_to_json(r, path, n, doc) : NULL;

	if (value)
		yyjson_mut_obj_add(obj, yyjson_mut_str(doc, key), value);
}

static bool is_header_value(const struct node *n)
{
	if (n->type != NODE_SCALAR || node_is_null(n))
		return false;
	for (size_t i = 0; i < n->len; i++)
		if (n->text[i] < 0x20 || n->text[i] > 0x7e)
			return false;
	return true;
}

static void add_file(struct reader *r, struct node *file,
		     const struct node *type, yyjson_mut_doc *doc,
		     yyjson_mut_val *obj)
{
	union value path;

	/* Once more, for the path without "./". */
	if (value_read(r, key_find(W "body_file"), file, &path))
		yyjson_mut_obj_add_strcpy(doc, obj, "body_file", path.s);
	add_text(doc, obj, "content_type", type, "application/octet-stream");
}

static void add_body(struct reader *r, const struct node *item,
		     yyjson_mut_doc *doc, yyjson_mut_val *obj)
{
	struct node *body = given(item, "body");
	struct node *file = given(item, "body_file");
	struct node *type = given(item, "content_type");

	if (body && file)
		problem_error(r, file, W "body_file",
			      "there is body, too: a request has one of them");
	if (type && !file)
		problem_error(r, type, W "content_type",
			      "only beside body_file: %s",
			      body ? "body is sent as application/json"
				   : "there is no body");
	if (type && !is_header_value(type))
		problem_error(r, type, W "content_type",
			      "expected a media type, such as image/png, "
			      "found %s",
			      node_shown(r, type));
	add_any(r, doc, obj, "body", W "body", body);
	if (file)
		add_file(r, file, type, doc, obj);
	add_text(doc, obj, "method", given(item, "method"),
		 body || file ? "POST" : "GET");
}

static void add_path(struct reader *r, const struct node *item,
		     yyjson_mut_doc *doc, yyjson_mut_val *obj)
{
	struct node *path = given(item, "path");

	if (path && r->predictor && r->predictor != FOR_COMMAND &&
	    path->text[1] && path->text[1] != '?')
		problem_error(r, path, W "path",
			      "an api of type %s has one path: write /, or "
			      "leave path out",
			      rules_types(&r->set->arena, r->predictor));
	add_text(doc, obj, "path", path, "/");
}

/* Names that HTTP, or another key, says the value of. */
static const char *why_not(const char *name)
{
	static const char *const ours[] = {
		"Host",	      "Connection",	   "Content-Length",
		"Expect",     "Transfer-Encoding", "Upgrade",
		"TE",	      "Trailer",	   "Keep-Alive",
		"User-Agent", "X-Soma-Warmup"};

	if (strcasecmp(name, "Content-Type") == 0)
		return "is said by content_type, or is application/json";
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return "is Soma's to say: remove it";
	return NULL;
}

static bool is_header_name(const struct node *n)
{
	return n->len <= 100 && texts_is_token(n->text);
}

static void add_header(struct reader *r, const struct pair *p,
		       yyjson_mut_doc *doc, yyjson_mut_val *obj)
{
	const char *path = arena_printf(&r->set->arena, W "headers.%s",
					problem_clean(r, p->key->text));
	const char *why = why_not(p->key->text);

	if (p->key->bad || p->value->bad)
		return;
	if (!is_header_name(p->key))
		problem_error(r, p->key, path,
			      "expected the name of a header, such as "
			      "X-Tenant");
	else if (why)
		problem_error(r, p->key, path, "%s", why);
	else if (!is_header_value(p->value))
		problem_error(r, p->value, path,
			      "expected a text of printable ASCII, found %s",
			      node_shown(r, p->value));
	else
		yyjson_mut_obj_add(obj, yyjson_mut_strcpy(doc, p->key->text),
				   yyjson_mut_strcpy(doc, p->value->text));
}

static void add_headers(struct reader *r, const struct node *item,
			yyjson_mut_doc *doc, yyjson_mut_val *obj)
{
	struct node *map = given(item, "headers");
	yyjson_mut_val *headers;

	if (!map)
		return;
	if (map->type != NODE_MAP) {
		problem_error(r, map, W "headers",
			      "expected a map of names and texts, found %s",
			      node_shown(r, map));
		return;
	}
	headers = yyjson_mut_obj_add_obj(doc, obj, "headers");
	for (uint32_t i = 0; i < map->n; i++)
		add_header(r, &map->pairs[i], doc, headers);
}

static void add_int(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key,
		    const struct node *n)
{
	int64_t v;

	if (n && node_int(n, &v))
		yyjson_mut_obj_add_int(doc, obj, key, v);
}

static void add_expect(struct reader *r, const struct node *item,
		       yyjson_mut_doc *doc, yyjson_mut_val *obj)
{
	struct node *map = given(item, "expect"), *body, *tolerance, *within;
	double v = SPEC_TOLERANCE;
	int64_t ms;

	if (!map || map->type != NODE_MAP)
		return;
	body = given(map, "body");
	tolerance = given(map, "tolerance");
	within = given(map, "within");
	add_int(doc, obj, "status", given(map, "status"));
	add_any(r, doc, obj, "expect", W "expect.body", body);
	if (tolerance && !body)
		problem_warn(r, tolerance, W "expect.tolerance",
			     "has an effect only beside body, whose numbers it "
			     "is for");
	if (tolerance)
		node_float(tolerance, &v);
	if (body)
		yyjson_mut_obj_add_real(doc, obj, "tolerance", v);
	if (within && str_duration_ms(within->text, &ms))
		yyjson_mut_obj_add_int(doc, obj, "within_ms", ms);
}

static void add_item(struct reader *r, const struct node *item,
		     yyjson_mut_doc *doc, yyjson_mut_val *list)
{
	yyjson_mut_val *obj = yyjson_mut_arr_add_obj(doc, list);

	add_path(r, item, doc, obj);
	add_body(r, item, doc, obj);
	add_headers(r, item, doc, obj);
	add_int(doc, obj, "times", given(item, "times"));
	add_expect(r, item, doc, obj);
}

void rules__warmup(struct reader *r, struct node *api, struct spec *spec)
{
	struct node *list = rules__good(api, "warmup");
	cleanup_json_mut yyjson_mut_doc *doc = NULL;
	yyjson_mut_val *root, *items;
	cleanup_free char *text = NULL;

	if (!list || list->type != NODE_LIST || !list->n)
		return;
	doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, root);
	items = yyjson_mut_obj_add_arr(doc, root, "requests");
	for (uint32_t i = 0; i < list->n; i++)
		if (list->items[i]->type == NODE_MAP && !list->items[i]->bad)
			add_item(r, list->items[i], doc, items);
	text = json_write(doc, NULL);
	spec->warmup_json = arena_strdup(&r->set->arena, text);
}
