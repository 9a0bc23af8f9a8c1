/* YAML's events to nodes: aliases, merges, and what must be refused before
 * anything is looked at: what blows up, and what is given twice. */
#include "spec/tree.h"

#include <yaml.h>

#include "core/map.h"
#include "core/mem.h"
#include "spec/syntax.h"

struct tree {
	struct reader *r;
	yaml_parser_t parser;
	const char *text;
	size_t len;
	struct map anchors; /* name to node */
	uint32_t depth;
	size_t nodes;
	bool failed; /* reported; nothing more is read */
};

static struct node *read_node(struct tree *t, yaml_event_t *ev);

static void fail(struct tree *t, const struct node *at, const char *what)
{
	if (!t->failed)
		problem_at(t->r, at->line, at->column, "%s", what);
	t->failed = true;
}

static bool next_event(struct tree *t, yaml_event_t *ev)
{
	if (t->failed)
		return false;
	if (yaml_parser_parse(&t->parser, ev))
		return true;
	syntax_problem(t->r, &t->parser, t->text, t->len);
	t->failed = true;
	return false;
}

static struct node *new_node(struct tree *t, enum node_type type,
			     const yaml_event_t *ev)
{
	struct node *n = arena_zalloc(&t->r->set->arena, sizeof *n);

	n->type = type;
	n->line = (uint32_t)ev->start_mark.line + 1;
	n->column = (uint32_t)ev->start_mark.column + 1;
	n->nodes = 1;
	n->text = "";
	if (++t->nodes > TREE_MAX_NODES)
		fail(t, n, "too many values: at most 100000 in one file");
	return n;
}

/* Counts a child in; refuses what aliases multiply. */
static void adopt(struct tree *t, struct node *parent, struct node *child)
{
	parent->nodes += child->nodes;
	parent->bytes += child->bytes;
	parent->depth = MAX(parent->depth, child->depth + 1);
	if (parent->nodes > TREE_MAX_NODES)
		fail(t, child,
		     "too many values: more than 100000 once its aliases are "
		     "followed");
	else if (parent->bytes > TREE_MAX_TEXT)
		fail(t, child,
		     "too much text: more than 4 MiB once its aliases are "
		     "followed");
	else if (parent->depth > TREE_MAX_DEPTH)
		fail(t, child, "nested more than 64 deep");
}

static void *grow(struct tree *t, void *old, uint32_t n, size_t size)
{
	void *more;

	/* Full at powers of two from 4 on. */
	if (n && (n < 4 || (n & (n - 1))))
		return old;
	more = arena_alloc(&t->r->set->arena, MAX(2 * n, 4U) * size);
	if (n)
		memcpy(more, old, n * size);
	return more;
}

static void anchor(struct tree *t, const yaml_char_t *name, struct node *n)
{
	if (name)
		map_set(&t->anchors, (const char *)name, n);
}

/* Only the core schema's tags mean something here. */
static void check_tag(struct tree *t, struct node *n, const yaml_char_t *tag)
{
	static const char *const plain[] = {YAML_INT_TAG, YAML_FLOAT_TAG,
					    YAML_BOOL_TAG, YAML_NULL_TAG};
	const char *name = (const char *)tag;
	bool known = !name;

	if (!name)
		return;
	if (n->type == NODE_MAP)
		known = strcmp(name, YAML_MAP_TAG) == 0;
	if (n->type == NODE_LIST)
		known = strcmp(name, YAML_SEQ_TAG) == 0;
	if (n->type == NODE_SCALAR &&
	    (strcmp(name, YAML_STR_TAG) == 0 || strcmp(name, "!") == 0))
		known = n->quoted = true;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (n->type == NODE_SCALAR && strcmp(name, plain[i]) == 0) {
			known = true;
			n->quoted = false;
		}
	if (!known)
		problem_error(t->r, n, NULL,
			      "tag %s is not supported here: remove it",
			      problem_quote(t->r, name));
}

static struct node *read_scalar(struct tree *t, yaml_event_t *ev)
{
	struct node *n = new_node(t, NODE_SCALAR, ev);
	const char *text = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;

	n->text = arena_strndup(&t->r->set->arena, text, len);
	n->len = n->bytes = len;
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	check_tag(t, n, ev->data.scalar.tag);
	if (memchr(text, 0, len))
		problem_error(t->r, n, NULL,
			      "text has a NUL character, which nothing here "
			      "can take");
	anchor(t, ev->data.scalar.anchor, n);
	return n;
}

static struct node *read_alias(struct tree *t, yaml_event_t *ev)
{
	const char *name = (const char *)ev->data.alias.anchor;
	struct node *to = map_get(&t->anchors, name), *n;

	if (to && !to->open)
		return to;
	n = new_node(t, NODE_SCALAR, ev);
	problem_error(t->r, n, NULL,
		      to ? "*%s stands inside &%s: a value cannot contain "
			   "itself"
			 : "alias *%s has no anchor &%s before it",
		      problem_clean(t->r, name), problem_clean(t->r, name));
	return n;
}

static void read_items(struct tree *t, struct node *list)
{
	yaml_event_t ev;

	while (next_event(t, &ev)) {
		struct node *item;

		if (ev.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&ev);
			return;
		}
		item = read_node(t, &ev);
		if (t->failed)
			return;
		list->items =
			grow(t, list->items, list->n, sizeof *list->items);
		list->items[list->n++] = item;
		adopt(t, list, item);
	}
}

static bool is_merge(const struct node *key)
{
	return !key->quoted && strcmp(key->text, "<<") == 0;
}

/* Adds a pair unless its key is there; returns the one that is. */
static struct node *put(struct tree *t, struct node *map, struct map *seen,
			struct pair pair)
{
	struct node *had = map_get(seen, pair.key->text);

	if (had)
		return had;
	map_set(seen, pair.key->text, pair.key);
	map->pairs = grow(t, map->pairs, map->n, sizeof *map->pairs);
	map->pairs[map->n++] = pair;
	return NULL;
}

static void read_pairs(struct tree *t, struct node *map, struct map *seen,
		       struct node **ret_merge)
{
	yaml_event_t ev;

	while (next_event(t, &ev)) {
		struct pair pair;
		struct node *had;

		if (ev.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&ev);
			return;
		}
		pair.key = read_node(t, &ev);
		if (t->failed || !next_event(t, &ev))
			return;
		pair.value = read_node(t, &ev);
		if (t->failed)
			return;
		adopt(t, map, pair.key);
		adopt(t, map, pair.value);
		if (pair.key->type != NODE_SCALAR) {
			problem_error(t->r, pair.key, NULL,
				      "a key must be a text, found %s",
				      node_shown(t->r, pair.key));
			continue;
		}
		if (pair.key->bad)
			continue;
		if (is_merge(pair.key) && !*ret_merge) {
			*ret_merge = pair.value;
			continue;
		}
		had = put(t, map, seen, pair);
		if (had)
			problem_error(t->r, pair.key, NULL,
				      "key %s is given twice: first at line %u",
				      problem_quote(t->r, pair.key->text),
				      had->line);
	}
}

/* <<: *base, or a list of such: keys that the map itself does not have. */
static void merge(struct tree *t, struct node *map, struct map *seen,
		  struct node *from)
{
	if (from->bad)
		return;
	if (from->type == NODE_MAP) {
		for (uint32_t i = 0; i < from->n; i++)
			put(t, map, seen, from->pairs[i]);
		return;
	}
	for (uint32_t i = 0; from->type == NODE_LIST && i < from->n; i++) {
		if (from->items[i]->type != NODE_MAP)
			break;
		merge(t, map, seen, from->items[i]);
		if (i + 1 == from->n)
			return;
	}
	problem_error(t->r, from, NULL,
		      "<<: expected a map, or a list of maps");
}

static struct node *read_map(struct tree *t, struct node *map)
{
	struct node *from = NULL;
	struct map seen;

	map_init(&seen);
	read_pairs(t, map, &seen, &from);
	if (from && !t->failed)
		merge(t, map, &seen, from);
	map_fini(&seen);
	return map;
}

static struct node *read_collection(struct tree *t, yaml_event_t *ev)
{
	bool list = ev->type == YAML_SEQUENCE_START_EVENT;
	struct node *n = new_node(t, list ? NODE_LIST : NODE_MAP, ev);

	anchor(t,
	       list ? ev->data.sequence_start.anchor
		    : ev->data.mapping_start.anchor,
	       n);
	check_tag(t, n,
		  list ? ev->data.sequence_start.tag
		       : ev->data.mapping_start.tag);
	if (t->depth == TREE_MAX_DEPTH) {
		fail(t, n, "nested more than 64 deep");
		return n;
	}
	t->depth++;
	n->open = true;
	if (list)
		read_items(t, n);
	else
		read_map(t, n);
	n->open = false;
	t->depth--;
	return n;
}

/* Takes the event. With t->failed, what is returned is half a node. */
static struct node *read_node(struct tree *t, yaml_event_t *ev)
{
	struct node *n;

	if (ev->type == YAML_ALIAS_EVENT)
		n = read_alias(t, ev);
	else if (ev->type == YAML_SCALAR_EVENT)
		n = read_scalar(t, ev);
	else
		n = read_collection(t, ev);
	yaml_event_delete(ev);
	return n;
}

static struct node *read_stream(struct tree *t)
{
	struct node *root = NULL;
	yaml_event_t ev;

	while (next_event(t, &ev)) {
		struct node at = {
			.line = (uint32_t)ev.start_mark.line + 1,
			.column = (uint32_t)ev.start_mark.column + 1,
		};

		switch (ev.type) {
		case YAML_STREAM_END_EVENT:
			yaml_event_delete(&ev);
			return root;
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			yaml_event_delete(&ev);
			break;
		case YAML_DOCUMENT_START_EVENT:
			yaml_event_delete(&ev);
			if (root)
				fail(t, &at,
				     "a second document begins here: put all "
				     "apis into one list");
			break;
		default:
			root = read_node(t, &ev);
		}
	}
	return NULL;
}

struct node *tree_read(struct reader *r, const char *text, size_t len)
{
	struct tree t = {.r = r, .text = text, .len = len};
	struct node *root;

	if (!yaml_parser_initialize(&t.parser))
		abort();
	map_init(&t.anchors);
	/* Said, not guessed: nothing here is UTF-16. */
	yaml_parser_set_encoding(&t.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&t.parser, (const unsigned char *)text,
				     len);
	root = read_stream(&t);
	map_fini(&t.anchors);
	yaml_parser_delete(&t.parser);
	return t.failed ? NULL : root;
}

struct node *node_get(const struct node *map, const char *key)
{
	if (!map || map->type != NODE_MAP)
		return NULL;
	for (uint32_t i = 0; i < map->n; i++)
		if (strcmp(map->pairs[i].key->text, key) == 0)
			return map->pairs[i].value;
	return NULL;
}

struct node *node_find(struct node *map, const char *path)
{
	while (map) {
		size_t n = strcspn(path, ".");
		char word[64];

		if (n >= sizeof word)
			return NULL;
		memcpy(word, path, n);
		word[n] = 0;
		map = node_get(map, word);
		if (!path[n])
			return map;
		path += n + 1;
	}
	return NULL;
}
