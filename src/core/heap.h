/* heap.h: members by a key, the least first: deadlines. A node lies in its
 * member; adding, moving and taking out any of n costs log n steps, and one
 * behind all others, as deadlines mostly are, a single one. */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap_node {
	uint64_t key;
	size_t at; /* private: place in the heap, from 1; 0: in none */
};

struct heap {
	struct heap_node **nodes; /* owned array of borrowed nodes */
	size_t n, cap;
};

void heap_fini(struct heap *h);
/* Puts it in, or moves it if it is in already. A zeroed node is in none. */
void heap_put(struct heap *h, struct heap_node *node, uint64_t key);
/* Safe on a node that is in none. */
void heap_remove(struct heap *h, struct heap_node *node);

/* The one with the least key, or NULL. */
static inline struct heap_node *heap_first(const struct heap *h)
{
	return h->n ? h->nodes[0] : NULL;
}

#endif
