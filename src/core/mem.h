/* mem.h: allocation that cannot fail, cleanup attributes, small macros. */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member)                                        \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#undef MIN /* <sys/param.h> has its own */
#undef MAX
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Small fixed-size allocations end the process when memory is out. What a
 * client sizes goes through struct buf, which has a maximum. */
void *mem_alloc(size_t size); /* zeroed */
void *mem_grow(void *p, size_t size);
char *mem_strdup(const char *s); /* NULL stays NULL */
char *mem_strndup(const char *s, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline void mem_freep(void *p)
{
	free(*(void **)p);
}

static inline void mem_closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Straight-line code: freed or closed when the variable leaves its scope. */
#define cleanup_free __attribute__((cleanup(mem_freep)))
#define cleanup_close __attribute__((cleanup(mem_closep)))

/* Moves a pointer out and clears its source. */
static inline void *mem_take_(void **p)
{
	void *v = *p;

	*p = NULL;
	return v;
}
#define mem_take(pp) mem_take_((void **)(pp))

#endif
