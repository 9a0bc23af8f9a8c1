/* Safetensors: eight bytes that say how long the header is, the header, which
 * is JSON, and the tensors, one after the other without a gap. */
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "weights/weights_parts.h"

enum { LENGTH_BYTES = 8, HEADER_MAX = 100000000 };

struct reader {
	struct weights *w;
	uint64_t start; /* of the tensors, in the file */
	uint64_t room;	/* bytes of tensors that the file has */
	struct err *err;
};

static int wrong(struct reader *r, const char *name, const char *what)
{
	return weights__wrong(r->err, name, what);
}

static int read_shape(struct reader *r, struct weights_tensor *t,
		      yyjson_val *list)
{
	size_t n = yyjson_arr_size(list), i, max;
	uint64_t *shape;
	yyjson_val *one;

	if (!yyjson_is_arr(list))
		return wrong(r, t->name, "has no shape");
	if (n > WEIGHTS_MAX_DIMS)
		return wrong(r, t->name, "has more than 64 dimensions");
	shape = arena_alloc(&r->w->arena, (n + 1) * sizeof *shape);
	yyjson_arr_foreach(list, i, max, one)
	{
		if (!yyjson_is_uint(one))
			return wrong(r, t->name,
				     "has a dimension that is no number of "
				     "elements");
		shape[i] = yyjson_get_uint(one);
	}
	t->n_dims = (uint32_t)n;
	t->shape = shape;
	return 0;
}

static int read_offsets(struct reader *r, struct weights_tensor *t,
			yyjson_val *pair)
{
	yyjson_val *from = yyjson_arr_get(pair, 0),
		   *to = yyjson_arr_get(pair, 1);
	uint64_t count, bytes;

	if (yyjson_arr_size(pair) != 2 || !yyjson_is_uint(from) ||
	    !yyjson_is_uint(to) || yyjson_get_uint(to) < yyjson_get_uint(from))
		return wrong(r, t->name,
			     "has data_offsets that are not a begin and an "
			     "end");
	if (yyjson_get_uint(to) > r->room)
		return wrong(r, t->name,
			     "ends behind the file's end: it was cut off, or "
			     "not fetched whole");
	if (!weights__count(t->shape, t->n_dims, &count) ||
	    __builtin_mul_overflow(
		    count, (uint64_t)weights_dtype_size(t->dtype), &bytes) ||
	    bytes != yyjson_get_uint(to) - yyjson_get_uint(from))
		return wrong(r, t->name,
			     "has other bytes than its shape and dtype take");
	t->offset = r->start + yyjson_get_uint(from);
	t->bytes = bytes;
	return 0;
}

static int read_tensor(struct reader *r, const char *name, yyjson_val *of)
{
	struct weights_tensor *t = weights__add(r->w);
	yyjson_val *dtype = yyjson_obj_get(of, "dtype");
	struct str text = {yyjson_get_str(dtype), yyjson_get_len(dtype)};

	t->name = arena_strdup(&r->w->arena, name);
	/* No more than these, so none of them is there twice. */
	if (!yyjson_is_obj(of) || yyjson_obj_size(of) != 3)
		return wrong(r, name,
			     "is no object of dtype, shape and data_offsets "
			     "alone");
	if (!weights__dtype(text, &t->dtype))
		return err_set(r->err, E_UNPROCESSABLE,
			       "tensor '%.200s' has the dtype '%.*s', which "
			       "is not known here",
			       name, (int)MIN(text.n, (size_t)40),
			       text.p ? text.p : "");
	if (read_shape(r, t, yyjson_obj_get(of, "shape")))
		return r->err->code;
	return read_offsets(r, t, yyjson_obj_get(of, "data_offsets"));
}

static int read_metadata(struct reader *r, yyjson_val *of)
{
	size_t i, max;
	yyjson_val *key, *value;

	if (!yyjson_is_obj(of))
		return wrong(r, "__metadata__", "is no object");
	yyjson_obj_foreach(of, i, max, key, value)
	{
		if (!yyjson_is_str(value))
			return wrong(r, "__metadata__",
				     "has a value that is no text");
	}
	return 0;
}

static int read_all(struct reader *r, yyjson_val *root)
{
	bool has_metadata = false;
	size_t i, max;
	yyjson_val *key, *value;

	yyjson_obj_foreach(root, i, max, key, value)
	{
		const char *name = yyjson_get_str(key);

		if (strlen(name) != yyjson_get_len(key))
			return err_set(r->err, E_UNPROCESSABLE,
				       "a tensor's name has a NUL");
		if (strcmp(name, "__metadata__") != 0) {
			if (read_tensor(r, name, value))
				return r->err->code;
			continue;
		}
		if (has_metadata)
			return wrong(r, name, "is there twice");
		has_metadata = true;
		if (read_metadata(r, value))
			return r->err->code;
	}
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct weights_tensor *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Each byte belongs to one tensor: what overlaps, or belongs to none, can hide
 * another content than a reader sees. */
static int check_layout(struct reader *r)
{
	uint64_t at = r->start;

	if (r->w->n)
		qsort(r->w->tensors, r->w->n, sizeof *r->w->tensors, by_offset);
	for (size_t i = 0; i < r->w->n; i++) {
		const struct weights_tensor *t = &r->w->tensors[i];

		if (t->offset < at)
			return wrong(r, t->name, "overlaps another");
		if (t->offset > at)
			return wrong(r, t->name,
				     "does not begin where the one before it "
				     "ends");
		at += t->bytes;
	}
	if (at != r->start + r->room)
		return err_set(r->err, E_UNPROCESSABLE,
			       "%llu bytes at the end belong to no tensor",
			       (unsigned long long)(r->start + r->room - at));
	return 0;
}

static uint64_t little_endian(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = LENGTH_BYTES; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

int safetensors__parse(struct weights *w, const uint8_t *data, uint64_t size,
		       struct err *err)
{
	cleanup_json yyjson_doc *doc = NULL;
	struct reader r = {.w = w, .err = err};
	struct err why = {0};
	uint64_t length;

	if (size < LENGTH_BYTES + 2)
		return err_set(err, E_UNPROCESSABLE,
			       "has %llu bytes, which is less than the header "
			       "of any file of weights",
			       (unsigned long long)size);
	length = little_endian(data);
	if (data[LENGTH_BYTES] != '{')
		return err_set(err, E_UNPROCESSABLE,
			       "is neither safetensors nor what torch.save() "
			       "writes (a zip archive)");
	if (length > HEADER_MAX)
		return err_set(err, E_UNPROCESSABLE,
			       "says that its header has %llu bytes; %u are "
			       "the most that safetensors may have",
			       (unsigned long long)length,
			       (unsigned)HEADER_MAX);
	if (length > size - LENGTH_BYTES)
		return err_set(err, E_UNPROCESSABLE,
			       "ends within its header: it was cut off, or not "
			       "fetched whole");
	doc = json_parse((const char *)data + LENGTH_BYTES, (size_t)length,
			 &why);
	if (!doc)
		return err_set(err, E_UNPROCESSABLE, "its header is %s",
			       why.msg);
	r.start = LENGTH_BYTES + length;
	r.room = size - r.start;
	if (read_all(&r, yyjson_doc_get_root(doc)))
		return err->code;
	return check_layout(&r);
}
