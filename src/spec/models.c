/* Where a class's models are: one, several by name, or a directory of them. */
#include <ctype.h>
#include <string.h>

#include "core/json.h"
#include "core/map.h"
#include "core/mem.h"
#include "spec/value.h"

struct models {
	struct reader *r;
	const char *path; /* "predictor.models" */
	struct node *block;
	yyjson_mut_doc *doc;
	yyjson_mut_val *root;
};

static const char *path_of(struct models *m, const char *key)
{
	return arena_printf(&m->r->set->arena, "%s.%s", m->path, key);
}

/* The row that `key` of the block has. */
static const struct key *row(struct models *m, const char *key)
{
	return key_find(path_of(m, key));
}

static struct node *given(const struct node *map, const char *key)
{
	struct node *n = node_get(map, key);

	return n && !node_is_null(n) ? n : NULL;
}

static bool add_source(struct models *m, yyjson_mut_val *obj, const char *key,
		       const struct key *k, struct node *n)
{
	const char *where;

	if (n->bad || !value_read_source(m->r, k, n, &where))
		return false;
	yyjson_mut_obj_add_strcpy(m->doc, obj, key, where);
	return true;
}

static bool is_name(const struct node *n)
{
	const char *s = n->text;

	if (n->type != NODE_SCALAR || node_is_null(n) || !*s)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '_' && *s != '-')
			return false;
	return true;
}

static void add_paths(struct models *m, struct node *list)
{
	yyjson_mut_val *items =
		yyjson_mut_obj_add_arr(m->doc, m->root, "paths");
	struct map names;

	map_init(&names);
	for (uint32_t i = 0; i < list->n; i++) {
		struct node *item = list->items[i];
		struct node *name = given(item, "name");
		struct node *path = given(item, "path");
		yyjson_mut_val *obj = yyjson_mut_arr_add_obj(m->doc, items);

		if (!name || !path || name->bad)
			continue; /* was reported */
		if (!is_name(name))
			problem_error(m->r, name, path_of(m, "paths[].name"),
				      "expected letters, digits, '_' and '-', "
				      "found %s",
				      node_shown(m->r, name));
		else if (map_get(&names, name->text))
			problem_error(m->r, name, path_of(m, "paths[].name"),
				      "two models have the name %s",
				      node_shown(m->r, name));
		else
			map_set(&names, name->text, item);
		yyjson_mut_obj_add_strcpy(m->doc, obj, "name", name->text);
		add_source(m, obj, "path", row(m, "paths[].path"), path);
	}
	map_fini(&names);
}

static void add_where(struct models *m)
{
	static const char *const ways[] = {"path", "paths", "dir"};
	struct node *found = NULL;
	const char *way = NULL;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct node *n = given(m->block, ways[i]);

		if (n && found)
			problem_error(m->r, n, path_of(m, ways[i]),
				      "only one of path, paths and dir may be "
				      "given; there is %s, too",
				      way);
		if (!n || found)
			continue;
		found = n;
		way = ways[i];
	}
	if (!found)
		problem_error(m->r, m->block, m->path,
			      "says no place: give path, paths or dir");
	else if (found->type == NODE_LIST)
		add_paths(m, found);
	else if (found->type == NODE_SCALAR)
		add_source(m, m->root, way, row(m, way), found);
}

/* null where it is not given. */
static int64_t add_count(struct models *m, const char *key)
{
	struct node *n = given(m->block, key);
	int64_t v = 0;

	if (n && !n->bad && node_int(n, &v))
		yyjson_mut_obj_add_int(m->doc, m->root, key, v);
	else
		yyjson_mut_obj_add_null(m->doc, m->root, key);
	return v;
}

static void add_caches(struct models *m, const struct spec *spec)
{
	int64_t memory = add_count(m, "cache_size");
	int64_t disk = add_count(m, "disk_cache_size");
	struct node *n = given(m->block, "cache_size");

	if (!n != !given(m->block, "disk_cache_size"))
		problem_error(m->r, m->block, m->path,
			      "cache_size and disk_cache_size go together: "
			      "give both or neither");
	else if (n && !n->bad && memory > disk)
		problem_error(m->r, n, path_of(m, "cache_size"),
			      "%lld is more than disk_cache_size, %lld",
			      (long long)memory, (long long)disk);
	else if (n && spec->predictor.processes > 1)
		problem_error(m->r, n, path_of(m, "cache_size"),
			      "needs processes_per_replica 1: processes do not "
			      "share a cache");
}

void models_apply(struct reader *r, struct node *api, const char *path,
		  struct spec *spec)
{
	struct node *block = node_find(api, path);
	cleanup_json_mut yyjson_mut_doc *doc = NULL;
	cleanup_free char *text = NULL;
	uint32_t errors = r->set->n_errors;
	struct models m = {.r = r, .path = path, .block = block};

	if (!block || block->type != NODE_MAP || block->bad ||
	    key_find(path)->acts == REFUSED)
		return;
	m.doc = doc = yyjson_mut_doc_new(NULL);
	m.root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, m.root);
	add_where(&m);
	add_caches(&m, spec);
	/* Nothing but soma.models has them: there is no client of Cortex's. */
	if (spec->predictor.klass == CLASS_PYTHON_PREDICTOR &&
	    strcmp(path, "predictor.models") == 0)
		yyjson_mut_obj_add_bool(doc, m.root, "open", true);
	if (r->set->n_errors > errors)
		return;
	text = json_write(doc, NULL);
	spec->predictor.models_json = arena_strdup(&r->set->arena, text);
}
