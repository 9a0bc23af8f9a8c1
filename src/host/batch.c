#include "host/batch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "host/dtype.h"

enum {
	ALIGN = 64,
	KEEP_BYTES = 1 << 20, /* from batch to batch */
};

int batch_check_ports(const struct soma_ports *ports, const char *key,
		      struct err *err)
{
	bool rows = ports->open;

	for (uint32_t i = 0; i < ports->n_inputs; i++) {
		const struct soma_port *port = &ports->inputs[i];

		if (port->rank > 0 && port->shape[0] >= 0)
			return err_set(
				err, E_UNPROCESSABLE,
				"predictor.%s: the first "
				"dimension of the input '%s' is always %" PRId64
				", so that requests cannot be joined along it; "
				"export the model with a first dimension of "
				"any size, or remove the key",
				key, port->name, port->shape[0]);
		rows |= port->rank != 0;
	}
	if (!rows)
		return err_set(err, E_UNPROCESSABLE,
			       "predictor.%s: no input of the model has a "
			       "dimension along which requests could be "
			       "joined; remove the key",
			       key);
	for (uint32_t i = 0; i < ports->n_outputs; i++) {
		const struct soma_port *port = &ports->outputs[i];

		if (port->rank > 0 && port->shape[0] >= 0)
			return err_set(
				err, E_UNPROCESSABLE,
				"predictor.%s: the first "
				"dimension of the output '%s' is always "
				"%" PRId64
				", however many rows go in, so that there is "
				"none for each request; remove the key",
				key, port->name, port->shape[0]);
		if (port->rank == 0)
			return err_set(
				err, E_UNPROCESSABLE,
				"predictor.%s: the output "
				"'%s' is a single value for all rows, so that "
				"there is none for each request; remove the "
				"key",
				key, port->name);
	}
	return 0;
}

int64_t batch_rows(const struct tensors *t)
{
	int64_t rows = 0;

	for (uint32_t i = 0; i < t->n; i++) {
		if (!t->items[i].rank)
			continue;
		if (rows && t->items[i].shape[0] != rows)
			return 0;
		rows = t->items[i].shape[0];
	}
	return rows;
}

/* ---- what fits ---- */

static bool same_scalar(const struct soma_tensor *a,
			const struct soma_tensor *b)
{
	const struct soma_string *x = a->data, *y = b->data;

	if (a->dtype != SOMA_STRING)
		return memcmp(a->data, b->data, dtype_size(a->dtype)) == 0;
	return x->len == y->len && memcmp(x->data, y->data, x->len) == 0;
}

static bool tensors_fit(const struct soma_tensor *a,
			const struct soma_tensor *b)
{
	if (a->dtype != b->dtype || a->rank != b->rank ||
	    (a->name != b->name && strcmp(a->name, b->name) != 0))
		return false;
	if (!a->rank)
		return same_scalar(a, b);
	return memcmp(a->shape + 1, b->shape + 1,
		      (a->rank - 1) * sizeof *a->shape) == 0;
}

bool batch_fit(const struct tensors *a, const struct tensors *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (!tensors_fit(&a->items[i], &b->items[i]))
			return false;
	return true;
}

/* ---- joining ---- */

void batch_init(struct batch *b, uint32_t max_parts)
{
	*b = (struct batch){.max_parts = max_parts};
	b->parts = mem_alloc(max_parts * sizeof *b->parts);
}

void batch_fini(struct batch *b)
{
	free(b->in);
	free(b->parts);
	free(b->data);
	free(b->out);
	*b = (struct batch){0};
}

void batch_reset(struct batch *b)
{
	b->n_parts = 0;
	b->n_in = 0;
	b->rows = 0;
	if (b->data_cap > KEEP_BYTES) {
		free(mem_take(&b->data));
		b->data_cap = 0;
	}
}

void batch_add(struct batch *b, const struct tensors *t)
{
	assert(b->n_parts < b->max_parts);
	b->parts[b->n_parts++] = t;
	b->rows += batch_rows(t);
}

/* Bytes of one row. */
static size_t row_size(const struct soma_tensor *t)
{
	return t->shape[0]
		       ? t->count / (size_t)t->shape[0] * dtype_size(t->dtype)
		       : 0;
}

static size_t bytes_of(const struct soma_tensor *t)
{
	size_t bytes = t->count * dtype_size(t->dtype);

	return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* The i-th input of all, without its data. Returns the bytes that it takes; 0
 * for one without dimensions, which is that of any part. */
static size_t shape_one(struct batch *b, uint32_t i)
{
	struct soma_tensor *t = &b->in[i];

	*t = b->parts[0]->items[i];
	if (!t->rank)
		return 0;
	t->count = t->count / (size_t)t->shape[0] * (size_t)b->rows;
	t->shape[0] = b->rows;
	return bytes_of(t);
}

static void fill_one(const struct batch *b, uint32_t i, char *to)
{
	for (uint32_t k = 0; k < b->n_parts; k++) {
		const struct soma_tensor *t = &b->parts[k]->items[i];
		size_t bytes = t->count * dtype_size(t->dtype);

		memcpy(to, t->data, bytes);
		to += bytes;
	}
}

int batch_join(struct batch *b, struct err *err)
{
	size_t bytes = 0;
	char *to;

	b->n_in = b->parts[0]->n;
	if (b->n_in > b->cap) {
		b->cap = b->n_in;
		b->in = mem_grow(b->in, b->cap * sizeof *b->in);
	}
	for (uint32_t i = 0; i < b->n_in; i++)
		bytes += shape_one(b, i);
	bytes = MAX(bytes, (size_t)ALIGN);
	if (bytes > b->data_cap) {
		free(b->data);
		b->data = aligned_alloc(ALIGN, bytes);
		b->data_cap = b->data ? bytes : 0;
	}
	if (!b->data)
		return err_set(err, E_NOMEM,
			       "no memory for a batch of %zu bytes", bytes);
	to = b->data;
	for (uint32_t i = 0; i < b->n_in; i++) {
		struct soma_tensor *t = &b->in[i];

		if (!t->rank)
			continue;
		fill_one(b, i, to);
		t->data = to;
		to += bytes_of(t);
	}
	return 0;
}

/* ---- cutting ---- */

int batch_check(const struct batch *b, const struct soma_response *out,
		struct err *err)
{
	for (uint32_t i = 0; i < out->n_outputs; i++) {
		const struct soma_tensor *t = &out->outputs[i];
		int64_t rows = t->rank ? t->shape[0] : 1;

		if (!t->rank || rows != b->rows)
			return err_set(err, E_INTERNAL,
				       "the output '%s' has %" PRId64
				       " row%s where the inputs have %" PRId64,
				       t->name ? t->name : "", rows,
				       rows == 1 ? "" : "s", b->rows);
	}
	return 0;
}

struct soma_response batch_cut(struct batch *b, const struct soma_response *out,
			       int64_t first, int64_t n)
{
	struct soma_response part = *out;

	if (out->n_outputs > b->cap_out) {
		b->cap_out = out->n_outputs;
		b->out = mem_grow(b->out, b->cap_out * sizeof *b->out);
	}
	for (uint32_t i = 0; i < out->n_outputs; i++) {
		const struct soma_tensor *all = &out->outputs[i];
		struct soma_tensor *t = &b->out[i];

		*t = *all;
		t->shape[0] = n;
		t->count = all->count / (size_t)all->shape[0] * (size_t)n;
		if (all->data)
			t->data = (const char *)all->data +
				  (size_t)first * row_size(all);
	}
	part.outputs = b->out;
	return part;
}
