#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/mem.h"

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->full = false;
}

/* One byte more than asked for, for buf_cstr's NUL. */
int buf_reserve(struct buf *b, size_t extra)
{
	size_t need = b->len + extra, cap = b->cap ? b->cap : 128;

	if (extra > b->max || need > b->max) {
		b->full = true;
		return E_TOOBIG;
	}
	if (need + 1 <= b->cap)
		return 0;
	while (cap < need + 1)
		cap *= 2;
	if (cap > b->max + 1)
		cap = b->max + 1;
	b->data = mem_grow(b->data, cap);
	b->cap = cap;
	return 0;
}

int buf__add_grown(struct buf *b, const void *data, size_t len)
{
	int rc = buf_reserve(b, len);

	if (rc || !len)
		return rc;
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int buf_addu(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return buf_add(b, digits + at, sizeof digits - at);
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args, again;
	int n, rc = 0;

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0)
		rc = E_INVALID;
	else
		rc = buf_reserve(b, (size_t)n);
	if (!rc) {
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	return rc;
}

void buf_drop(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

const char *buf_cstr(struct buf *b)
{
	if (!b->data)
		return "";
	b->data[b->len] = 0;
	return b->data;
}

char *buf_take(struct buf *b, size_t *ret_len)
{
	char *data;

	if (!b->data)
		b->data = mem_alloc(1);
	b->data[b->len] = 0;
	if (ret_len)
		*ret_len = b->len;
	data = mem_take(&b->data);
	b->len = b->cap = 0;
	return data;
}
