/* list.h: a doubly linked list whose links live in its members. */
#ifndef CORE_LIST_H
#define CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/mem.h"

/* Both the head and a link. A link out of any list points at itself. */
struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_add_after(struct list *at, struct list *l)
{
	l->prev = at;
	l->next = at->next;
	at->next->prev = l;
	at->next = l;
}

static inline void list_push_front(struct list *head, struct list *l)
{
	list_add_after(head, l);
}

static inline void list_push_back(struct list *head, struct list *l)
{
	list_add_after(head->prev, l);
}

/* Safe on a link that is in no list, and on one that was never used
 * but zeroed. */
static inline void list_remove(struct list *l)
{
	if (l->next) {
		l->prev->next = l->next;
		l->next->prev = l->prev;
	}
	list_init(l);
}

#define LIST_ENTRY(l, type, member) CONTAINER_OF(l, type, member)

/* The loop body may remove and free `it`, no other member. */
#define LIST_EACH(head, it, tmp)                                               \
	for ((it) = (head)->next, (tmp) = (it)->next; (it) != (head);          \
	     (it) = (tmp), (tmp) = (it)->next)

#endif
