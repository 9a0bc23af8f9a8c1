/* From the tree to specs, a map of the table at a time. */
#include <string.h>

#include "core/mem.h"
#include "core/str.h"
#include "spec/keys.h"
#include "spec/rules.h"
#include "spec/tree.h"
#include "spec/value.h"

/* warned: what was warned of a map around it, or NULL: once is enough. */
static void read_map(struct reader *r, const char *path, struct node *map,
		     struct spec *spec, const char *warned);

/* Whether `path` is in another of the blocks that say what is run. */
static bool is_other_block(const struct reader *r, const char *path)
{
	static const char *const blocks[] = {"predictor.", "handler.", "pod."};

	for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
		if (strncmp(path, blocks[i], strlen(blocks[i])) == 0)
			return strncmp(path, r->block, strlen(r->block)) != 0;
	return false;
}

static void unknown_key(struct reader *r, const char *parent, struct node *key)
{
	bool here = false;
	const struct key *k = problem_is_listed(r)
				      ? key_meant(parent, key->text, &here)
				      : NULL;
	const char *path = problem_clean(r, key->text);
	const char *meant = k ? k->path : NULL;

	if (*parent)
		path = arena_printf(&r->set->arena, "%s.%s", parent, path);
	if (!k || (r->predictor && is_other_block(r, meant)))
		problem_error(r, key, path, "unknown key");
	else if (here)
		problem_error(r, key, path, "unknown key; did you mean '%s'?",
			      key_in(k, parent));
	else if (!strchr(meant, '.'))
		problem_error(
			r, key, path,
			"unknown key here; '%s' is a key of the api itself",
			meant);
	else
		problem_error(r, key, path,
			      "unknown key here; did you mean '%s'?", meant);
}

/* Whether a key says what is so anyway: refusing that would be pedantic. */
static bool says_nothing(const struct key *k, const struct node *n)
{
	return node_is_null(n) || (k->def && n->type == NODE_SCALAR &&
				   !n->quoted && strcmp(n->text, k->def) == 0);
}

static void read_list(struct reader *r, const struct key *k, struct node *n,
		      struct spec *spec, const char *warned)
{
	const char *items = arena_printf(&r->set->arena, "%s[]", k->path);

	if (n->type != NODE_LIST || !value_in_range(k, n->n)) {
		value_unexpected(
			r, k, n,
			n->type == NODE_LIST && n->n
				? arena_printf(
					  &r->set->arena, "a list%s %s",
					  value_range_text(&r->set->arena, k),
					  k->unit)
				: "a list of maps");
		return;
	}
	for (uint32_t i = 0; i < n->n; i++)
		if (!n->items[i]->bad)
			read_map(r, items, n->items[i], spec, warned);
}

static void read_map_word(struct reader *r, const struct key *k, struct node *n)
{
	if (n->type != NODE_SCALAR || value_word(k->words, n->text) < 0)
		value_unexpected(
			r, k, n,
			arena_printf(&r->set->arena, "%s or a map", k->words));
}

static void read_value(struct reader *r, const struct key *k, struct node *n,
		       struct spec *spec, const char *warned)
{
	union value v;

	switch (k->type) {
	case KEY_MAP:
		if (k->words && n->type != NODE_MAP)
			read_map_word(r, k, n);
		else
			read_map(r, k->path, n, spec, warned);
		break;
	case KEY_ENV:
		value_read_env(r, k, n, spec);
		break;
	case KEY_JSON:
	case KEY_OPTIONS:
		value_read_config(r, k, n, spec);
		break;
	case KEY_COMMAND:
		value_read_command(r, k, n, spec);
		break;
	case KEY_STRINGS:
	case KEY_ORIGINS:
	case KEY_TOKENS:
		texts_read(r, k, n, spec);
		break;
	case KEY_PERCENTS:
		canary_read_steps(r, k, n);
		break;
	case KEY_ANY:
	case KEY_HEADERS:
		break; /* warmup.c */
	case KEY_LIST:
		read_list(r, k, n, spec, warned);
		break;
	default:
		if (value_read(r, k, n, &v))
			value_store(spec, k, v);
	}
}

/* null where it has a meaning: none, or not given. False: it has not. */
static bool read_null(const struct key *k, struct spec *spec)
{
	union value none = {0};

	if (k->type == KEY_MAP || k->type == KEY_ENV || k->type == KEY_JSON ||
	    k->type == KEY_OPTIONS)
		return true;
	if (k->null_ok) {
		value_store(spec, k, none);
		return true;
	}
	return !k->required && !k->def;
}

/* A word of Cortex's that has other keys beside it: only that is worth
 * saying. */
static bool is_refused(struct reader *r, const char *parent, const char *key,
		       struct node *map)
{
	const struct key *k = key_child(parent, key);
	struct node *n = k ? node_get(map, key) : NULL;
	union value v;

	if (!n || n->type != NODE_SCALAR || !key_refusal(k, n->text))
		return false;
	value_read(r, k, n, &v);
	return true;
}

static void read_key(struct reader *r, const struct key *k, struct pair *pair,
		     struct spec *spec, const char *warned)
{
	struct node *n = pair->value;

	if (n->bad || pair->key->bad)
		return;
	if (k->acts == REFUSED) {
		if (!says_nothing(k, n))
			problem_error(r, pair->key, k->path, "%s", k->why);
		return;
	}
	if (node_is_null(n) && read_null(k, spec))
		return;
	if (k->acts == WARNS && (!warned || strcmp(warned, k->why) != 0)) {
		problem_warn(r, pair->key, k->path, "not acted on yet: %s",
			     k->why);
		warned = k->why;
	}
	read_value(r, k, n, spec, warned);
}

static const char *kind_word(uint8_t kinds)
{
	if (kinds & KIND_REALTIME)
		return "RealtimeAPI";
	return kinds & KIND_TASK ? "TaskAPI" : "TrafficSplitter";
}

/* Keys of another type of predictor, or kind of api, are no use, whatever they
 * do. */
static bool is_for(struct reader *r, const struct key *k, struct node *key)
{
	if (!(k->kinds & r->kind)) {
		problem_error(r, key, k->path,
			      "only for kind %s, this one is %s",
			      kind_word(k->kinds), kind_word(r->kind));
		return false;
	}
	if (!k->predictors || (k->predictors & r->predictor))
		return true;
	if (!r->predictor)
		return k->acts != REFUSED; /* its type is what is wrong */
	if (k->acts == REFUSED)
		return true; /* to be told why */
	problem_error(r, key, k->path, "only for type %s, this one is %s",
		      rules_types(&r->set->arena, k->predictors),
		      rules_types(&r->set->arena, r->predictor));
	return false;
}

static void check_required(struct reader *r, const char *path, struct node *map)
{
	const struct key *k;

	for (size_t i = 0; (k = key_at(i)); i++) {
		const char *last = key_in(k, path);

		if (!last || !k->required || k->acts == REFUSED ||
		    node_get(map, last))
			continue;
		if (!(k->kinds & r->kind) ||
		    (k->predictors && !(k->predictors & r->predictor)))
			continue;
		problem_error(r, map, k->path,
			      "required key is missing; for example '%s'",
			      k->example);
		map->bad = false; /* what it has is good */
	}
}

static void read_map(struct reader *r, const char *path, struct node *map,
		     struct spec *spec, const char *warned)
{
	if (map->type != NODE_MAP) {
		problem_error(r, map, path, "expected a map, found %s",
			      node_shown(r, map));
		return;
	}
	if (is_refused(r, path, "type", map))
		return;
	for (uint32_t i = 0; i < map->n; i++) {
		struct pair *pair = &map->pairs[i];
		const struct key *k = key_child(path, pair->key->text);

		if (!k)
			unknown_key(r, path, pair->key);
		else if (is_for(r, k, pair->key))
			read_key(r, k, pair, spec, warned);
	}
	check_required(r, path, map);
}

/* What the tree found in an api did not have its name yet. */
static void name_problems(struct reader *r, uint32_t from_line,
			  uint32_t before_line)
{
	for (uint32_t i = 0; i < r->set->n_problems; i++) {
		struct problem *p = &r->set->problems[i];

		if (!p->api && p->line >= from_line && p->line < before_line)
			p->api = r->api;
	}
}

/* What is no kind is told where its key is read. */
static uint8_t kind_of(struct node *item)
{
	struct node *kind = node_get(item, "kind");

	return kind && kind->type == NODE_SCALAR &&
			       strcmp(kind->text, "TrafficSplitter") == 0
		       ? KIND_SPLITTER
		       : KIND_REALTIME;
}

static void read_api(struct reader *r, struct node *item, struct spec *spec)
{
	struct node *name = node_get(item, "name");

	if (item->bad)
		return;
	if (item->type != NODE_MAP) {
		problem_error(r, item, NULL,
			      "expected an api, a map with name and predictor, "
			      "found %s",
			      node_shown(r, item));
		return;
	}
	if (name && name->type == NODE_SCALAR && !node_is_null(name))
		r->api = problem_clean(r, name->text);
	if (is_refused(r, "", "kind", item))
		return;
	r->kind = kind_of(item);
	rules_begin(r, item);
	value_set_defaults(r, spec);
	read_map(r, "", item, spec, NULL);
	rules_api(r, item, spec);
}

static void read_apis(struct reader *r, struct node **items, uint32_t n)
{
	struct spec_set *set = r->set;

	set->specs = arena_zalloc(&set->arena, n * sizeof *set->specs);
	set->n_specs = n;
	for (uint32_t i = 0; i < n; i++) {
		r->api = NULL;
		r->predictor = 0;
		read_api(r, items[i], &set->specs[i]);
		if (r->api)
			name_problems(r, items[i]->line,
				      i + 1 < n ? items[i + 1]->line
						: UINT32_MAX);
	}
	r->api = NULL;
	rules_file(r, items);
}

static void read_root(struct reader *r, struct node *root)
{
	if (!root || (node_is_null(root) && !root->bad) ||
	    (root->type == NODE_LIST && !root->n))
		problem_error(r, NULL, NULL, "no apis in this file");
	else if (root->type == NODE_LIST)
		read_apis(r, root->items, root->n);
	else if (root->type == NODE_MAP && node_get(root, "cluster_name"))
		problem_error(r, root, NULL,
			      "this is the config of a Cortex cluster: Soma "
			      "has none to set up; name the file of the apis, "
			      "such as cortex.yaml");
	else if (root->type == NODE_MAP)
		read_apis(r, &root, 1);
	else if (!root->bad)
		problem_error(r, root, NULL,
			      "expected a list of apis, found %s",
			      node_shown(r, root));
}

int spec_parse(struct spec_set *set, const char *file_name, const char *text,
	       size_t len, const struct spec_files *files)
{
	struct reader r = {.set = set, .file_name = file_name, .files = files};

	*set = (struct spec_set){0};
	arena_init(&set->arena);
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3; /* a byte order mark, as Windows writes it */
		len -= 3;
	}
	if (len > SPEC_MAX_BYTES) {
		problem_error(&r, NULL, NULL,
			      "file has %zu bytes; at most 1048576 (1 MiB)",
			      len);
	} else {
		struct node *root = tree_read(&r, text, len);

		if (root || !set->n_errors)
			read_root(&r, root);
	}
	problem_finish(&r);
	return set->n_errors ? E_UNPROCESSABLE : 0;
}

void spec_set_fini(struct spec_set *set)
{
	arena_fini(&set->arena);
	*set = (struct spec_set){0};
}
