/* A map of YAML to the JSON that a class's __init__ or an engine gets. */
#include "core/json.h"
#include "core/mem.h"
#include "spec/value.h"

/* With room for the rest of a CONFIG frame. */
enum { CONFIG_MAX = 128 * 1024 };

struct config {
	struct reader *r;
	const char *path;
	yyjson_mut_doc *doc;
};

static yyjson_mut_val *convert(struct config *c, struct node *n,
			       const char *path);

/* Leading zero: 010 is 8 for YAML 1.1, 10 for YAML 1.2. */
static bool is_ambiguous(const char *s)
{
	s += *s == '-' || *s == '+';
	return s[0] == '0' && s[1] && !s[strspn(s, "01234567")];
}

static bool is_integer(const char *s)
{
	s += *s == '-' || *s == '+';
	return *s && !s[strspn(s, "0123456789")];
}

static bool is_not_finite(const char *s)
{
	s += *s == '-' || *s == '+';
	return strcasecmp(s, ".inf") == 0 || strcasecmp(s, ".nan") == 0;
}

static yyjson_mut_val *convert_number(struct config *c, struct node *n,
				      const char *path)
{
	uint64_t u;
	int64_t i;
	double f;

	if (is_ambiguous(n->text))
		problem_error(c->r, n, path,
			      "%s may be read as octal or decimal: quote it, "
			      "or write it without the leading zero",
			      node_shown(c->r, n));
	else if (is_not_finite(n->text))
		problem_error(c->r, n, path,
			      "JSON has no %s: quote it, and convert it in "
			      "your code",
			      node_shown(c->r, n));
	else if (node_int(n, &i))
		return yyjson_mut_sint(c->doc, i);
	else if (node_uint(n, &u))
		return yyjson_mut_uint(c->doc, u);
	else if (is_integer(n->text))
		problem_error(c->r, n, path,
			      "integer %s does not fit into 64 bits: quote it, "
			      "and convert it in your code",
			      node_shown(c->r, n));
	else if (node_float(n, &f))
		return yyjson_mut_real(c->doc, f);
	else
		return yyjson_mut_strn(c->doc, n->text, n->len);
	return NULL;
}

static yyjson_mut_val *convert_scalar(struct config *c, struct node *n,
				      const char *path)
{
	bool b;

	if (n->quoted)
		return yyjson_mut_strn(c->doc, n->text, n->len);
	if (node_is_null(n))
		return yyjson_mut_null(c->doc);
	if (node_bool(n, &b))
		return yyjson_mut_bool(c->doc, b);
	return convert_number(c, n, path);
}

static yyjson_mut_val *convert_map(struct config *c, struct node *n,
				   const char *path)
{
	yyjson_mut_val *obj = yyjson_mut_obj(c->doc);

	for (uint32_t i = 0; i < n->n; i++) {
		struct pair *p = &n->pairs[i];
		yyjson_mut_val *value = convert(
			c, p->value,
			arena_printf(&c->r->set->arena, "%.200s.%s", path,
				     problem_clean(c->r, p->key->text)));

		if (value)
			yyjson_mut_obj_add(obj,
					   yyjson_mut_strn(c->doc, p->key->text,
							   p->key->len),
					   value);
	}
	return obj;
}

/* NULL: a problem is reported. */
static yyjson_mut_val *convert(struct config *c, struct node *n,
			       const char *path)
{
	yyjson_mut_val *list;

	if (n->bad)
		return NULL;
	if (n->type == NODE_SCALAR)
		return convert_scalar(c, n, path);
	if (n->type == NODE_MAP)
		return convert_map(c, n, path);
	list = yyjson_mut_arr(c->doc);
	for (uint32_t i = 0; i < n->n; i++) {
		yyjson_mut_val *item = convert(
			c, n->items[i],
			arena_printf(&c->r->set->arena, "%.200s[%u]", path, i));

		if (item)
			yyjson_mut_arr_add_val(list, item);
	}
	return list;
}

yyjson_mut_val *value_to_json(struct reader *r, const char *path,
			      struct node *n, yyjson_mut_doc *doc)
{
	struct config c = {.r = r, .path = path, .doc = doc};

	return convert(&c, n, path);
}

/* Names of an engine's, and what it can be told with. */
static bool are_options(struct reader *r, const struct key *k, struct node *map)
{
	uint32_t errors = r->set->n_errors;

	for (uint32_t i = 0; i < map->n; i++) {
		struct node *n = map->pairs[i].value;

		if (!n->bad && (n->type != NODE_SCALAR || node_is_null(n)))
			problem_error(
				r, n,
				arena_printf(
					&r->set->arena, "%s.%s", k->path,
					problem_clean(r,
						      map->pairs[i].key->text)),
				"expected a text, a number or a boolean, found "
				"%s",
				node_shown(r, n));
	}
	return r->set->n_errors == errors;
}

void value_read_config(struct reader *r, const struct key *k, struct node *n,
		       struct spec *spec)
{
	cleanup_json_mut yyjson_mut_doc *doc = NULL;
	struct config c = {.r = r, .path = k->path};
	cleanup_free char *text = NULL;
	uint32_t errors = r->set->n_errors;
	char size[32];
	size_t len;

	if (node_is_null(n))
		return;
	if (n->type != NODE_MAP) {
		value_unexpected(r, k, n, "a map");
		return;
	}
	if (k->type == KEY_OPTIONS && !are_options(r, k, n))
		return;
	doc = c.doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, convert(&c, n, k->path));
	if (r->set->n_errors > errors)
		return;
	text = json_write(doc, &len);
	if (len > CONFIG_MAX)
		problem_error(r, n, k->path,
			      "is %s as JSON; at most 128 KiB: put large data "
			      "into a file of the project",
			      str_human_bytes(len, size));
	else
		value_store(spec, k,
			    (union value){.s = arena_strndup(&r->set->arena,
							     text, len)});
}
