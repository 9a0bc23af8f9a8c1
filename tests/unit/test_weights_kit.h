/* test_weights_kit.h: files of weights, made byte by byte. */
#ifndef TEST_WEIGHTS_KIT_H
#define TEST_WEIGHTS_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/buf.h"
#include "core/mem.h"
#include "weights/weights.h"

static inline struct buf made(void)
{
	struct buf b;

	buf_init(&b, 1 << 28);
	return b;
}

static inline void add_le(struct buf *b, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		buf_addc(b, i < 8 ? (char)(v >> (8 * i)) : 0);
}

/* As weights_parse, of memory that ends where the file does: sanitizers see a
 * step beyond it. */
static inline int parse(struct weights *w, const struct buf *file,
			struct err *err)
{
	cleanup_free uint8_t *exact = mem_alloc(file->len ? file->len : 1);

	if (file->len)
		memcpy(exact, file->data, file->len);
	*err = (struct err){0};
	return weights_parse(w, exact, file->len, err);
}

/* The file is spent. */
static inline void refused(struct buf file, const char *words)
{
	struct weights w;
	struct err err;

	assert_int_equal(parse(&w, &file, &err), E_UNPROCESSABLE);
	if (!strstr(err.msg, words))
		fail_msg("'%s' is not in '%s'", words, err.msg);
	assert_int_equal(w.n, 0);
	buf_fini(&file);
}

static inline void accepted(struct buf file, struct weights *w)
{
	struct err err;

	if (parse(w, &file, &err))
		fail_msg("refused: %s", err.msg);
	buf_fini(&file);
}

/* Every cut of it is refused, with words. */
static inline void refused_at_every_cut(struct buf file)
{
	for (size_t n = 0; n < file.len; n++) {
		struct buf part = made();

		buf_add(&part, file.data, n);
		refused(part, "");
	}
	buf_fini(&file);
}

static inline const struct weights_tensor *tensor(const struct weights *w,
						  const char *name)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->tensors[i].name, name) == 0)
			return &w->tensors[i];
	fail_msg("there is no tensor '%s'", name);
	return NULL;
}

#endif
