#include "core/heap.h"

#include <assert.h>
#include <stdlib.h>

#include "core/mem.h"

void heap_fini(struct heap *h)
{
	free(h->nodes);
	*h = (struct heap){0};
}

static void set(struct heap *h, size_t at, struct heap_node *node)
{
	h->nodes[at - 1] = node;
	node->at = at;
}

static struct heap_node *get(const struct heap *h, size_t at)
{
	return h->nodes[at - 1];
}

/* Places count from 1: the parent of i is i / 2. */
static void rise(struct heap *h, struct heap_node *node, size_t at)
{
	for (; at > 1 && get(h, at / 2)->key > node->key; at /= 2)
		set(h, at, get(h, at / 2));
	set(h, at, node);
}

static void sink(struct heap *h, struct heap_node *node, size_t at)
{
	for (size_t below; (below = 2 * at) <= h->n; at = below) {
		if (below < h->n && get(h, below + 1)->key < get(h, below)->key)
			below++;
		if (get(h, below)->key >= node->key)
			break;
		set(h, at, get(h, below));
	}
	set(h, at, node);
}

static void settle(struct heap *h, struct heap_node *node, size_t at)
{
	if (at > 1 && get(h, at / 2)->key > node->key)
		rise(h, node, at);
	else
		sink(h, node, at);
}

void heap_put(struct heap *h, struct heap_node *node, uint64_t key)
{
	node->key = key;
	if (node->at) {
		settle(h, node, node->at);
		return;
	}
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 64;
		h->nodes = mem_grow(h->nodes, h->cap * sizeof *h->nodes);
	}
	rise(h, node, ++h->n);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
	struct heap_node *last;
	size_t at = node->at;

	if (!at)
		return;
	assert(at <= h->n && get(h, at) == node);
	last = get(h, h->n--);
	node->at = 0;
	if (last != node)
		settle(h, last, at);
}
