/* tree.h: a YAML file as nodes that know where they stood. */
#ifndef SPEC_TREE_H
#define SPEC_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec/problem.h"

/* After aliases are followed: what a small file can blow up to. */
enum {
	TREE_MAX_NODES = 100000,
	TREE_MAX_TEXT = 4 << 20,
	TREE_MAX_DEPTH = 64,
};

enum node_type { NODE_SCALAR, NODE_MAP, NODE_LIST };

struct pair {
	struct node *key, *value;
};

/* In the set's arena. Aliases share nodes: a tree in shape, not in memory;
 * never a cycle. */
struct node {
	enum node_type type;
	bool quoted; /* text whatever it looks like: "5", 'yes', !!str 5 */
	bool open;   /* private: still being read */
	bool bad;    /* a problem was reported: more would only follow it */
	uint32_t line, column; /* from 1 */
	const char *text;      /* scalar: UTF-8 without NUL bytes */
	size_t len;
	struct node **items; /* list */
	struct pair *pairs;  /* map: keys are scalars, each once; <<: merged */
	uint32_t n;	     /* items, or pairs */
	uint32_t depth;	     /* of what is below; 0: scalar */
	size_t nodes, bytes; /* with everything below, aliases followed */
};

/* The one document's root; NULL when it is empty, or when what it has is no
 * YAML and the problems say so. */
struct node *tree_read(struct reader *r, const char *text, size_t len);

/* The value of a map's key, or NULL. `map` may be NULL or another node. */
struct node *node_get(const struct node *map, const char *key);
/* The same by path: "autoscaling.min_replicas". */
struct node *node_find(struct node *map, const char *path);

/* What a plain scalar is. YAML 1.2's core schema, and of YAML 1.1 the
 * booleans yes, no, on, off, because Cortex's parser knew them; y and n are
 * texts, as are timestamps. */
bool node_is_null(const struct node *n);
bool node_bool(const struct node *n, bool *ret);
/* Decimal, 0x and 0o; no leading zeros: 010 is 8 in YAML 1.1, 10 in 1.2. */
bool node_int(const struct node *n, int64_t *ret);
bool node_uint(const struct node *n, uint64_t *ret);
bool node_float(const struct node *n, double *ret);

/* "'two'", "a list": for "expected ..., found ...". */
const char *node_shown(struct reader *r, const struct node *n);

#endif
