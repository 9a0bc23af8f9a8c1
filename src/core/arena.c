#include "core/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

enum { ARENA_BLOCK = 4096, ARENA_ALIGN = 16 };

struct arena_block {
	struct arena_block *older;
	size_t size;
};

void arena_init(struct arena *a)
{
	*a = (struct arena){0};
}

void arena_init_with(struct arena *a, void *memory, size_t size)
{
	*a = (struct arena){.next = memory, .end = (char *)memory + size};
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

static char *aligned(char *p)
{
	uintptr_t at = (uintptr_t)p;

	return p + ((ARENA_ALIGN - at % ARENA_ALIGN) % ARENA_ALIGN);
}

void *arena_alloc(struct arena *a, size_t size)
{
	char *p = a->next ? aligned(a->next) : NULL;
	struct arena_block *b;
	size_t want;

	if (p && p <= a->end && size <= (size_t)(a->end - p)) {
		a->next = p + size;
		return p;
	}
	want = sizeof *b + ARENA_ALIGN + size;
	if (want < ARENA_BLOCK)
		want = ARENA_BLOCK;
	b = mem_grow(NULL, want);
	b->older = a->blocks;
	b->size = want;
	a->blocks = b;
	p = aligned((char *)(b + 1));
	a->next = p + size;
	a->end = (char *)b + want;
	return p;
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
