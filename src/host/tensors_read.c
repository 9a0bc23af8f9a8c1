#include "host/reading.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "core/str.h"
#include "host/dtype.h"
#include "host/elements.h"

enum {
	ALIGN = 64,
	KEEP_BYTES = 1 << 20, /* of either memory, from request to request */
	POOL_LEAST = 16 << 10,
	/* A tensor takes thirty times the bytes of a short name and number. */
	OTHERS_MAX = 1024,
};

void tensors_init(struct tensors *t)
{
	*t = (struct tensors){0};
}

void tensors_fini(struct tensors *t)
{
	yyjson_doc_free(mem_take(&t->doc));
	free(mem_take(&t->items));
	free(mem_take(&t->data));
	free(mem_take(&t->pool));
	tensors_init(t);
}

void tensors_reset(struct tensors *t)
{
	yyjson_doc_free(mem_take(&t->doc));
	t->n = 0;
	if (t->data_cap > KEEP_BYTES) {
		free(mem_take(&t->data));
		t->data_cap = 0;
	}
}

/* ---- shapes ---- */

/* The shape, by the first list of each level, checked against the port. */
static int measure(struct reading *in, const struct soma_port *port,
		   yyjson_val *v, struct soma_tensor *t)
{
	bool known = port->rank >= 0;

	t->name = port->name;
	t->dtype = port->dtype;
	t->rank = 0;
	while (yyjson_is_arr(v)) {
		if (t->rank == SOMA_RANK_MAX)
			return unfit(in, port,
				     "its lists are nested deeper than %d "
				     "levels",
				     SOMA_RANK_MAX);
		t->shape[t->rank++] = (int64_t)yyjson_arr_size(v);
		v = yyjson_arr_get_first(v);
	}
	if (t->rank && t->shape[0] == 0)
		return unfit(in, port, "it is an empty list");
	/* Below an empty list nothing tells how long others would be. */
	if (!v && known)
		for (; (int32_t)t->rank < port->rank; t->rank++)
			t->shape[t->rank] = MAX(port->shape[t->rank], 0);
	if (known && port->rank != (int32_t)t->rank)
		return unfit_shape(in, port, t);
	t->count = 1;
	for (uint32_t i = 0; i < t->rank; i++) {
		if (known && port->shape[i] >= 0 &&
		    port->shape[i] != t->shape[i])
			return unfit_shape(in, port, t);
		/* More than there are values is said to be ragged by fill(). */
		t->count =
			MIN(t->count, in->n_values + 1) * (size_t)t->shape[i];
	}
	return 0;
}

/* ---- dtypes that nobody has declared ---- */

/* 0: no leaf yet. Whole numbers stay int64 until another kind is met. A list
 * below `levels` of them is ragged: fill() says so. */
static enum soma_dtype infer(yyjson_val *v, uint32_t levels,
			     enum soma_dtype so_far)
{
	size_t i, n;
	yyjson_val *item;

	if (yyjson_is_arr(v) && levels) {
		yyjson_arr_foreach(v, i, n, item)
		{
			so_far = infer(item, levels - 1, so_far);
			if (so_far != SOMA_ANY && so_far != SOMA_INT64)
				break;
		}
		return so_far;
	}
	if (yyjson_is_str(v))
		return SOMA_STRING;
	if (yyjson_is_bool(v))
		return SOMA_BOOL;
	return yyjson_is_real(v) ? SOMA_FLOAT64 : SOMA_INT64;
}

/* ---- elements ---- */

static int fill(struct reading *in, const struct soma_port *port,
		const struct soma_tensor *t, uint32_t level, yyjson_val *v,
		char **to)
{
	size_t i, n = (size_t)t->shape[level], done, max;
	yyjson_val *item;

	if (!yyjson_is_arr(v) || yyjson_arr_size(v) != n)
		return unfit_ragged(in, port, t, level, v);
	if (level + 1 == t->rank) {
		item = yyjson_arr_get_first(v);
		done = elements_read(t->dtype, item, n, *to);
		*to += n * dtype_size(t->dtype);
		in->at[level] = done;
		return done == n ? 0 : unfit_element(in, port, t, item + done);
	}
	yyjson_arr_foreach(v, i, max, item)
	{
		in->at[level] = i;
		if (fill(in, port, t, level + 1, item, to))
			return E_INVALID;
	}
	return 0;
}

/* Only looks for what is ragged, where a tensor would be too large to make. */
static int find_ragged(struct reading *in, const struct soma_port *port,
		       const struct soma_tensor *t, uint32_t level,
		       yyjson_val *v)
{
	size_t i, max;
	yyjson_val *item;

	if (!yyjson_is_arr(v) || yyjson_arr_size(v) != (size_t)t->shape[level])
		return unfit_ragged(in, port, t, level, v);
	if (level + 1 == t->rank)
		return 0;
	yyjson_arr_foreach(v, i, max, item)
	{
		in->at[level] = i;
		if (find_ragged(in, port, t, level + 1, item))
			return E_INVALID;
	}
	return 0;
}

/* ---- the document ---- */

static yyjson_doc *parse(struct tensors *t, const char *json, size_t len,
			 struct err *err)
{
	size_t needs = yyjson_read_max_memory_usage(len, 0);
	yyjson_alc pool, *alc = NULL;
	yyjson_read_err why;
	yyjson_doc *doc;

	if (needs <= KEEP_BYTES) {
		if (t->pool_size < needs) {
			free(t->pool);
			t->pool_size = MAX(needs, (size_t)POOL_LEAST);
			t->pool = mem_grow(NULL, t->pool_size);
		}
		if (yyjson_alc_pool_init(&pool, t->pool, t->pool_size))
			alc = &pool;
	}
	doc = yyjson_read_opts((char *)(uintptr_t)json, len, 0, alc, &why);
	if (doc)
		return doc;
	if (why.pos < len && strchr("NnIi-", json[why.pos]))
		err_set(err, E_INVALID,
			"the body is not JSON: %s at byte %zu (JSON has no NaN "
			"and no infinity)",
			why.msg, why.pos);
	else
		err_set(err, E_INVALID, "the body is not JSON: %s at byte %zu",
			why.msg, why.pos);
	return NULL;
}

/* Which value is for which port. */
static int match(struct reading *in, yyjson_val *root, size_t *ret_others)
{
	const struct soma_ports *ports = in->ports;
	size_t at, max, others = 0;
	yyjson_val *key, *value;

	yyjson_obj_foreach(root, at, max, key, value)
	{
		const char *name = yyjson_get_str(key);
		uint32_t i = 0;

		while (i < ports->n_inputs &&
		       !yyjson_equals_str(key, ports->inputs[i].name))
			i++;
		if (i == ports->n_inputs && !ports->open)
			return unfit_unknown(in, name);
		/* An engine would take it for another name. */
		if (i == ports->n_inputs && strlen(name) != yyjson_get_len(key))
			return err_set(in->err, E_INVALID,
				       "an input's name has a NUL character, "
				       "behind '%s'",
				       name);
		if (i == ports->n_inputs && others == OTHERS_MAX)
			return err_set(in->err, E_INVALID,
				       "there are more than %d inputs, the "
				       "most that are taken under names that "
				       "the model does not declare",
				       OTHERS_MAX);
		if (i == ports->n_inputs) {
			in->keys[others] = key;
			in->values[ports->n_inputs + others++] = value;
			continue;
		}
		if (in->values[i])
			return err_set(in->err, E_INVALID,
				       "input '%s' is there twice", name);
		if (!yyjson_is_null(value) || !ports->inputs[i].optional)
			in->values[i] = value;
	}
	*ret_others = others;
	return 0;
}

/* The port of value i; `spare` is made into one for those without. */
static const struct soma_port *port_of(const struct reading *in, size_t i,
				       struct soma_port *spare)
{
	if (i < in->ports->n_inputs)
		return &in->ports->inputs[i];
	*spare = (struct soma_port){
		.name = yyjson_get_str(in->keys[i - in->ports->n_inputs]),
		.rank = -1};
	return spare;
}

static int shape_one(struct reading *in, const struct soma_port *port,
		     yyjson_val *v, size_t *bytes)
{
	struct tensors *t = in->t;
	struct soma_tensor *item = &t->items[t->n];

	if (measure(in, port, v, item))
		return E_INVALID;
	if (item->dtype == SOMA_ANY)
		item->dtype = infer(v, item->rank, SOMA_ANY);
	/* A list without lists in it names no kind. */
	if (item->dtype == SOMA_ANY)
		item->dtype = SOMA_FLOAT64;
	if (item->count > in->n_values)
		return find_ragged(in, port, item, 0, v);
	*bytes += (item->count * dtype_size(item->dtype) + ALIGN - 1) / ALIGN *
		  ALIGN;
	t->n++;
	return 0;
}

static int make_room(struct tensors *t, size_t bytes, struct err *err)
{
	size_t cap = MAX((bytes + ALIGN - 1) / ALIGN * ALIGN, (size_t)ALIGN);

	if (cap <= t->data_cap)
		return 0;
	free(t->data);
	t->data = aligned_alloc(ALIGN, cap);
	t->data_cap = t->data ? cap : 0;
	return t->data ? 0
		       : err_set(err, E_NOMEM,
				 "no memory for inputs of %zu bytes", bytes);
}

static int read_values(struct reading *in, size_t n)
{
	struct tensors *t = in->t;
	struct soma_port spare;
	size_t bytes = 0;
	char *to;

	for (size_t i = 0; i < n; i++) {
		const struct soma_port *port = port_of(in, i, &spare);

		if (in->values[i]) {
			if (shape_one(in, port, in->values[i], &bytes))
				return E_INVALID;
		} else if (!port->optional) {
			return unfit_missing(in, port);
		}
	}
	if (make_room(t, bytes, in->err))
		return E_NOMEM;
	to = t->data;
	for (size_t i = 0, k = 0; i < n; i++) {
		const struct soma_port *port = port_of(in, i, &spare);
		struct soma_tensor *item = &t->items[k];
		yyjson_val *v = in->values[i];
		char *at = to;

		if (!v)
			continue;
		item->data = to;
		if (item->rank == 0 &&
		    elements_read(item->dtype, v, 1, to) == 0)
			return unfit_element(in, port, item, v);
		if (item->rank && fill(in, port, item, 0, v, &at))
			return E_INVALID;
		to += (item->count * dtype_size(item->dtype) + ALIGN - 1) /
		      ALIGN * ALIGN;
		k++;
	}
	return 0;
}

static bool has_strings(const struct tensors *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (t->items[i].dtype == SOMA_STRING)
			return true;
	return false;
}

int tensors_read(struct tensors *t, const struct soma_ports *ports,
		 const char *json, size_t len, struct err *err)
{
	enum { FEW = 16 };
	yyjson_val *few[2 * FEW] = {0};
	cleanup_free yyjson_val **many = NULL;
	struct reading in = {.t = t, .ports = ports, .err = err};
	yyjson_val *root;
	size_t n, others = 0;
	int rc;

	t->doc = parse(t, json, len, err);
	if (!t->doc)
		return E_INVALID;
	root = yyjson_doc_get_root(t->doc);
	in.n_values = yyjson_doc_get_val_count(t->doc);
	if (!yyjson_is_obj(root))
		return err_set(err, E_INVALID,
			       "the body is %s; write an object of inputs by "
			       "their names: {\"%s\": ...}",
			       unfit_kind(root) ? unfit_kind(root)
						: "a single value",
			       ports->n_inputs ? ports->inputs[0].name : "x");
	n = ports->n_inputs;
	if (ports->open)
		n += MIN(yyjson_obj_size(root), (size_t)OTHERS_MAX);
	if (n > FEW)
		many = mem_alloc(2 * n * sizeof *many);
	in.values = many ? many : few;
	in.keys = in.values + (many ? n : FEW);
	if (match(&in, root, &others))
		return E_INVALID;
	n = ports->n_inputs + others;
	if (n > t->cap) {
		t->items = mem_grow(t->items, n * sizeof *t->items);
		t->cap = (uint32_t)n;
	}
	rc = read_values(&in, n);
	/* Names of other inputs are the document's, too. */
	if (!rc && !others && !has_strings(t))
		yyjson_doc_free(mem_take(&t->doc));
	return rc;
}
