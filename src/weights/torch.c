/* What torch.save() writes: a zip archive of data.pkl, which says what there
 * is, and data/KEY, the bytes of each storage. */
#include <string.h>

#include "core/mem.h"
#include "weights/weights_parts.h"

enum {
	PICKLE_BYTES_MAX = 1 << 28,
	DEPTH_MAX = 32,
	TENSORS_MAX = 1 << 20,
	NAME_BYTES_MAX = 4096,
	NAMES_BYTES_MAX = 1 << 27, /* of all tensors */
};

struct reader {
	struct weights *w;
	const uint8_t *data;
	struct zip zip;
	struct str folder; /* the archive's own, "archive/" or another */
	size_t names_bytes;
	unsigned depth;
	struct err *err;
};

static int wrong(struct reader *r, const char *name, const char *what)
{
	return weights__wrong(r->err, name, what);
}

/* Elements of the storage from the first that a tensor has to behind its last;
 * false: more than 2^64. */
static bool reach(const struct pickle *v, uint64_t *ret)
{
	uint64_t last = 0, step;

	for (uint32_t i = 0; i < v->n_dims; i++)
		if (__builtin_mul_overflow(v->shape[i] - 1, v->stride[i],
					   &step) ||
		    __builtin_add_overflow(last, step, &last))
			return false;
	return !__builtin_add_overflow(last, (uint64_t)1, ret);
}

static bool is_row_major(const struct pickle *v)
{
	uint64_t stride = 1;

	for (uint32_t i = v->n_dims; i-- > 0;) {
		if (v->shape[i] != 1 && v->stride[i] != stride)
			return false;
		stride *= v->shape[i];
	}
	return true;
}

static int place(struct reader *r, struct weights_tensor *t,
		 const struct pickle *v)
{
	const struct pickle *storage = v->storage;
	uint64_t count, elements = 0, from, bytes, all;
	uint64_t size = weights_dtype_size(t->dtype);
	const struct zip_entry *e =
		zip__find(&r->zip, r->folder, "data/", storage->text);

	if (!e)
		return wrong(r, t->name, "is in a storage that is not there");
	all = storage->typed ? weights_dtype_size(storage->dtype) : 1;
	if (__builtin_mul_overflow((uint64_t)storage->i, all, &all) ||
	    all > e->size)
		return wrong(r, t->name,
			     "is in a storage that has fewer bytes than it "
			     "says");
	if (!weights__count(v->shape, v->n_dims, &count))
		return wrong(r, t->name, "has more elements than there can be");
	if ((count && !reach(v, &elements)) ||
	    __builtin_mul_overflow(v->first, size, &from) ||
	    __builtin_mul_overflow(elements, size, &bytes) || from > e->size ||
	    bytes > e->size - from)
		return wrong(r, t->name, "is larger than its storage");
	t->offset = e->offset + from;
	t->bytes = bytes;
	t->stride = count && !is_row_major(v) ? v->stride : NULL;
	return 0;
}

static int add_tensor(struct reader *r, const char *name,
		      const struct pickle *v)
{
	struct weights_tensor *t;

	if (r->w->n == TENSORS_MAX)
		return wrong(r, name, "is one of more than a million");
	t = weights__add(r->w);
	t->name = name;
	t->dtype = v->dtype;
	t->n_dims = v->n_dims;
	t->shape = v->shape;
	return place(r, t, v);
}

static bool is_text(struct str s)
{
	while (s.n) {
		size_t n = str_utf8_at(s.p, s.n);

		if (!n || !*s.p)
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}

/* "outer.key"; NULL: it is no name, or too long a one. */
static const char *inner_name(struct reader *r, const char *outer,
			      const struct pickle *key)
{
	size_t n = strlen(outer) + 2;

	n += key->kind == PICKLE_TEXT ? key->text.n : 20;
	r->names_bytes += n;
	if ((key->kind != PICKLE_INT && key->kind != PICKLE_TEXT) ||
	    n > NAME_BYTES_MAX || r->names_bytes > NAMES_BYTES_MAX)
		return NULL;
	if (key->kind == PICKLE_INT)
		return arena_printf(&r->w->arena, "%s%s%lld", outer,
				    *outer ? "." : "", (long long)key->i);
	if (!is_text(key->text))
		return NULL;
	return arena_printf(&r->w->arena, "%s%s%.*s", outer, *outer ? "." : "",
			    (int)key->text.n, key->text.p);
}

static int add_all(struct reader *r, const char *outer, struct pickle *v);

static int add_items(struct reader *r, const char *outer, struct pickle *dict)
{
	for (size_t i = 0; i + 1 < dict->n; i += 2) {
		struct pickle *of = dict->items[i + 1];
		const char *name;

		if (of->kind != PICKLE_TENSOR && of->kind != PICKLE_DICT)
			continue; /* numbers of epochs, names of versions */
		name = inner_name(r, outer, dict->items[i]);
		if (!name)
			return err_set(r->err, E_UNPROCESSABLE,
				       "its data.pkl has a tensor whose name "
				       "is no text, or of more than 4096 "
				       "bytes");
		if (add_all(r, name, of))
			return r->err->code;
	}
	return 0;
}

static int add_all(struct reader *r, const char *outer, struct pickle *v)
{
	int rc;

	if (v->kind == PICKLE_TENSOR)
		return add_tensor(r, outer, v);
	if (v->seen || r->depth == DEPTH_MAX)
		return err_set(r->err, E_UNPROCESSABLE,
			       "its data.pkl has a dict in itself, or one in "
			       "two places");
	v->seen = true;
	r->depth++;
	rc = add_items(r, outer, v);
	r->depth--;
	return rc;
}

/* Everything is in one folder of the archive: that of data.pkl. */
static const struct zip_entry *find_pickle(struct reader *r)
{
	for (size_t i = 0; i < r->zip.n; i++) {
		const struct zip_entry *e = &r->zip.entries[i];
		const char *slash = memchr(e->name.p, '/', e->name.n);
		size_t n = slash ? (size_t)(slash + 1 - e->name.p) : 0;

		r->folder = (struct str){e->name.p, n};
		if (n && str_eq((struct str){slash + 1, e->name.n - n},
				STR("data.pkl")))
			return e;
	}
	return NULL;
}

static int check_byte_order(struct reader *r)
{
	const struct zip_entry *e =
		zip__find(&r->zip, r->folder, "byteorder", STR(""));

	if (e && !str_eq((struct str){(const char *)r->data + e->offset,
				      (size_t)e->size},
			 STR("little")))
		return err_set(r->err, E_UNPROCESSABLE,
			       "was written with the bytes of numbers the "
			       "other way round: save it anew on a machine "
			       "like this one");
	return 0;
}

static int read_all(struct reader *r)
{
	const struct zip_entry *e = find_pickle(r);
	struct pickle *root;

	if (!e)
		return err_set(r->err, E_UNPROCESSABLE,
			       "is a zip archive without a data.pkl, which "
			       "torch.save() puts there");
	if (zip__find(&r->zip, r->folder, "constants.pkl", STR("")))
		return err_set(r->err, E_UNPROCESSABLE,
			       "is a TorchScript program, not weights: save "
			       "model.state_dict(), best as safetensors");
	if (e->size > PICKLE_BYTES_MAX)
		return err_set(r->err, E_UNPROCESSABLE,
			       "has a data.pkl of %llu bytes; %u are the most",
			       (unsigned long long)e->size,
			       (unsigned)PICKLE_BYTES_MAX);
	if (check_byte_order(r) || pickle__read(r->data + e->offset, e->size,
						&r->w->arena, &root, r->err))
		return r->err->code;
	if (root->kind != PICKLE_DICT)
		return err_set(r->err, E_UNPROCESSABLE,
			       "has no dict of tensors: save "
			       "model.state_dict(), best as safetensors");
	return add_all(r, "", root);
}

int torch__parse(struct weights *w, const uint8_t *data, uint64_t size,
		 struct err *err)
{
	struct reader r = {.w = w, .data = data, .err = err};

	if (zip__read(&r.zip, data, size, &w->arena, err))
		return err->code;
	return read_all(&r);
}
