/* arena.h: memory that is freed all at once. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <stddef.h>

struct arena_block;

enum { ARENA_ALIGN = 16 };

struct arena {
	struct arena_block *blocks; /* owned, newest first */
	char *next, *end; /* free room in the newest block; next is aligned */
};

void arena_init(struct arena *a);
/* Starts in memory of the caller, which outlives the arena. */
void arena_init_with(struct arena *a, void *memory, size_t size);
void arena_fini(struct arena *a);

/* A new block, and `size` bytes of it. */
void *arena__grow(struct arena *a, size_t size);

/* Aligned to 16, not zeroed; never NULL. Here, since a request takes nine. */
static inline void *arena_alloc(struct arena *a, size_t size)
{
	size_t room = (size_t)(a->end - a->next);
	size_t want = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	void *p = a->next;

	if (want > room || size > want || !p)
		return arena__grow(a, size);
	a->next += want;
	return p;
}

void *arena_zalloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
