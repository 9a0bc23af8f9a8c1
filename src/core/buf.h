/* buf.h: bytes that grow up to a maximum given at init. */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

struct buf {
	char *data; /* owned; not NUL-terminated unless buf_cstr was called */
	size_t len;
	size_t cap;
	size_t max; /* appending past it fails and sets `full` */
	bool full;
};

/* No allocation until the first append. */
void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);  /* leaves an empty, usable buffer */
void buf_reset(struct buf *b); /* length 0, memory kept */

/* 0, or E_TOOBIG with the buffer as it was but for `full`: a chain of appends
 * may be checked once, at its end. */
static inline int buf_add(struct buf *b, const void *data, size_t len);
static inline int buf_adds(struct buf *b, const char *s);
static inline int buf_addc(struct buf *b, char c);
int buf_addu(struct buf *b, uint64_t v); /* in decimal */
int buf_addf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Makes room for `extra` more bytes without changing len. */
int buf_reserve(struct buf *b, size_t extra);

/* Drops the first n bytes. */
void buf_drop(struct buf *b, size_t n);

/* A NUL-terminated view, valid until the next change. Never NULL. */
const char *buf_cstr(struct buf *b);

/* Moves the NUL-terminated memory to the caller (free()) and empties b. */
char *buf_take(struct buf *b, size_t *ret_len);

/* ---- */

int buf__add_grown(struct buf *b, const void *data, size_t len);

/* In the header, since most of what is added is short and of known length: a
 * call would cost more than the copy. */
static inline int buf_add(struct buf *b, const void *data, size_t len)
{
	/* Within cap is within max; the NUL has its room, too. */
	if (b->cap - b->len <= len)
		return buf__add_grown(b, data, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

static inline int buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

static inline int buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

#endif
