/* test_weights_zip.h: what torch.save() writes, and what it never would. */
#ifndef TEST_WEIGHTS_ZIP_H
#define TEST_WEIGHTS_ZIP_H

#include "test_weights_kit.h"

/* What is wrong with an entry, or other than usual. */
struct odd {
	unsigned flags, method, local_flags, local_method;
	const char *local_name;			  /* NULL: the same */
	uint64_t size_more, packed_more, at_more; /* in the directory */
	bool zip64;
};

struct archive {
	struct buf out, directory;
	unsigned n;
	/* Of the end: what is said beside what is so. */
	uint64_t n_more, at_more, size_more;
	bool zip64;
	const char *comment;
};

static inline void archive_init(struct archive *a)
{
	*a = (struct archive){.out = made(), .directory = made()};
}

static inline void add_zip64(struct buf *b, const uint64_t *values, size_t n)
{
	add_le(b, 1, 2);
	add_le(b, 8 * n, 2);
	for (size_t i = 0; i < n; i++)
		add_le(b, values[i], 8);
}

static inline void add_odd(struct archive *a, const char *name,
			   const void *data, size_t n, const struct odd *o)
{
	const char *local = o->local_name ? o->local_name : name;
	uint64_t values[] = {n + o->size_more, n + o->packed_more,
			     a->out.len + o->at_more};
	struct buf *b = &a->out, *d = &a->directory;

	buf_adds(b, "PK\3\4");
	add_le(b, 20, 2);
	add_le(b, o->local_flags, 2);
	add_le(b, o->local_method, 2);
	add_le(b, 0, 8); /* time, date, checksum */
	add_le(b, n, 4);
	add_le(b, n, 4);
	add_le(b, strlen(local), 2);
	add_le(b, 3, 2);
	buf_adds(b, local);
	buf_add(b, "pad", 3);
	buf_add(b, data, n);

	buf_adds(d, "PK\1\2");
	add_le(d, 20, 2);
	add_le(d, 20, 2);
	add_le(d, o->flags, 2);
	add_le(d, o->method, 2);
	add_le(d, 0, 8);
	add_le(d, o->zip64 ? UINT32_MAX : values[1], 4);
	add_le(d, o->zip64 ? UINT32_MAX : values[0], 4);
	add_le(d, strlen(name), 2);
	add_le(d, o->zip64 ? 28 : 0, 2);
	add_le(d, 0, 2); /* comment */
	add_le(d, 0, 8); /* disk, attributes */
	add_le(d, o->zip64 ? UINT32_MAX : values[2], 4);
	buf_adds(d, name);
	if (o->zip64)
		add_zip64(d, values, ARRAY_LEN(values));
	a->n++;
}

static inline void add(struct archive *a, const char *name, const void *data,
		       size_t n)
{
	static const struct odd usual;

	add_odd(a, name, data, n, &usual);
}

static inline void add_end64(struct buf *b, uint64_t n, uint64_t at,
			     uint64_t size)
{
	uint64_t here = b->len;

	buf_adds(b, "PK\6\6");
	add_le(b, 44, 8);
	add_le(b, 45, 2);
	add_le(b, 45, 2);
	add_le(b, 0, 8);
	add_le(b, n, 8);
	add_le(b, n, 8);
	add_le(b, size, 8);
	add_le(b, at, 8);
	buf_adds(b, "PK\6\7");
	add_le(b, 0, 4);
	add_le(b, here, 8);
	add_le(b, 1, 4);
}

static inline struct buf archive_end(struct archive *a)
{
	uint64_t at = a->out.len + a->at_more, n = a->n + a->n_more;
	uint64_t size = a->directory.len + a->size_more;
	struct buf *b = &a->out;

	buf_add(b, a->directory.data, a->directory.len);
	if (a->zip64)
		add_end64(b, n, at, size);
	buf_adds(b, "PK\5\6");
	add_le(b, 0, 4);
	add_le(b, a->zip64 ? UINT16_MAX : n, 2);
	add_le(b, a->zip64 ? UINT16_MAX : n, 2);
	add_le(b, a->zip64 ? UINT32_MAX : size, 4);
	add_le(b, a->zip64 ? UINT32_MAX : at, 4);
	add_le(b, a->comment ? strlen(a->comment) : 0, 2);
	buf_adds(b, a->comment ? a->comment : "");
	buf_fini(&a->directory);
	return a->out;
}

/* ---- pickles ---- */

static inline void pk_text(struct buf *b, const char *text)
{
	buf_addc(b, 'X');
	add_le(b, strlen(text), 4);
	buf_adds(b, text);
}

static inline void pk_int(struct buf *b, int64_t v)
{
	buf_adds(b, "\x8a\x08");
	add_le(b, (uint64_t)v, 8);
}

static inline void pk_name(struct buf *b, const char *module, const char *name)
{
	buf_addf(b, "c%s\n%s\n", module, name);
}

static inline void pk_tuple(struct buf *b, const int64_t *v, size_t n)
{
	buf_addc(b, '(');
	for (size_t i = 0; i < n; i++)
		pk_int(b, v[i]);
	buf_addc(b, 't');
}

static inline void pk_storage(struct buf *b, const char *class, const char *key,
			      int64_t elements)
{
	buf_addc(b, '(');
	pk_text(b, "storage");
	pk_name(b, "torch", class);
	pk_text(b, key);
	pk_text(b, "cpu");
	pk_int(b, elements);
	buf_adds(b, "tQ");
}

/* A tensor of a storage, as torch._utils has it. */
struct view {
	const char *class, *key;
	int64_t elements, first;
	size_t n_dims;
	int64_t shape[4], stride[4];
};

static inline void pk_tensor(struct buf *b, const struct view *v)
{
	pk_name(b, "torch._utils", "_rebuild_tensor_v2");
	buf_addc(b, '(');
	pk_storage(b, v->class, v->key, v->elements);
	pk_int(b, v->first);
	pk_tuple(b, v->shape, v->n_dims);
	pk_tuple(b, v->stride, v->n_dims);
	buf_addc(b, '\x89');
	pk_name(b, "collections", "OrderedDict");
	buf_adds(b, ")RtR");
}

/* An archive of this pickle and one storage of 64 bytes. Spends it. */
static inline struct buf archive_of(struct buf pickle)
{
	struct archive a;
	char bytes[64] = {1};

	archive_init(&a);
	add(&a, "m/data.pkl", pickle.data, pickle.len);
	add(&a, "m/byteorder", "little", 6);
	add(&a, "m/data/0", bytes, sizeof bytes);
	add(&a, "m/version", "3\n", 2);
	buf_fini(&pickle);
	return archive_end(&a);
}

/* {"w": the tensor} */
static inline struct buf pickle_of(const struct view *v)
{
	struct buf b = made();

	buf_adds(&b, "\x80\x02}");
	pk_text(&b, "w");
	pk_tensor(&b, v);
	buf_adds(&b, "s.");
	return b;
}

static inline struct buf raw(const char *opcodes, size_t n)
{
	struct buf b = made();

	buf_add(&b, "\x80\x02", 2);
	buf_add(&b, opcodes, n);
	return b;
}
#define RAW(literal) raw(literal, sizeof(literal) - 1)

#endif
