/* arena.h: memory that is freed all at once. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks; /* owned, newest first */
	char *next, *end;	    /* free room in the newest block */
};

void arena_init(struct arena *a);
/* Starts in memory of the caller, which outlives the arena. */
void arena_init_with(struct arena *a, void *memory, size_t size);
void arena_fini(struct arena *a);

/* Aligned to 16, not zeroed; never NULL. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
