#include "core/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

enum { ARENA_BLOCK = 4096 };

struct arena_block {
	struct arena_block *older;
	size_t size;
};

static_assert(sizeof(struct arena_block) % ARENA_ALIGN == 0, "alignment");

void arena_init(struct arena *a)
{
	*a = (struct arena){0};
}

void arena_init_with(struct arena *a, void *memory, size_t size)
{
	size_t skip = -(uintptr_t)memory % ARENA_ALIGN;

	arena_init(a);
	if (skip > size)
		return;
	a->next = (char *)memory + skip;
	a->end = (char *)memory + size;
}

void arena_fini(struct arena *a)
{
	struct arena_block *b = a->blocks, *older;

	for (; b; b = older) {
		older = b->older;
		free(b);
	}
	arena_init(a);
}

void *arena__grow(struct arena *a, size_t size)
{
	size_t want = MAX(sizeof(struct arena_block) + ARENA_ALIGN + size,
			  (size_t)ARENA_BLOCK);
	struct arena_block *b = mem_grow(NULL, want);

	assert(size < SIZE_MAX / 2);
	b->older = a->blocks;
	b->size = want;
	a->blocks = b;
	a->next = (char *)(b + 1);
	a->end = (char *)b + want;
	return arena_alloc(a, size);
}

void *arena_zalloc(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *copy = arena_alloc(a, n + 1);

	memcpy(copy, s, n);
	copy[n] = 0;
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args, again;
	char *text;
	int n;

	assert(fmt);

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	text = arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
	text[0] = 0;
	if (n >= 0)
		vsnprintf(text, (size_t)n + 1, fmt, again);
	va_end(again);
	return text;
}
