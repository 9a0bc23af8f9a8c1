/* Any bytes as the JSON of tensors: no crash, what is wrong is said in words,
 * and what was read is the same after it was written and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "host/dtype.h"
#include "host/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct soma_port inputs[] = {
	{.name = "b", .dtype = SOMA_BOOL, .rank = 1, .shape = {-1}},
	{.name = "i",
	 .dtype = SOMA_INT8,
	 .rank = 2,
	 .shape = {-1, 2},
	 .dim_names = {"batch"},
	 .optional = 1},
	{.name = "l", .dtype = SOMA_INT64, .rank = 0, .optional = 1},
	{.name = "u", .dtype = SOMA_UINT64, .rank = -1, .optional = 1},
	{.name = "h", .dtype = SOMA_FLOAT16, .rank = -1, .optional = 1},
	{.name = "g", .dtype = SOMA_BFLOAT16, .rank = -1, .optional = 1},
	{.name = "f",
	 .dtype = SOMA_FLOAT32,
	 .rank = 3,
	 .shape = {-1, -1, -1},
	 .optional = 1},
	{.name = "d", .dtype = SOMA_FLOAT64, .rank = -1, .optional = 1},
	{.name = "s", .dtype = SOMA_STRING, .rank = -1, .optional = 1},
};

static void check_strings(const struct soma_tensor *a,
			  const struct soma_tensor *b)
{
	const struct soma_string *x = a->data, *y = b->data;

	for (size_t i = 0; i < a->count; i++)
		if (x[i].len != y[i].len || x[i].data[x[i].len] ||
		    memcmp(x[i].data, y[i].data, x[i].len) != 0)
			abort();
}

static void check_same(const struct tensors *a, const struct tensors *b)
{
	if (a->n != b->n)
		abort();
	for (uint32_t i = 0; i < a->n; i++) {
		const struct soma_tensor *x = &a->items[i], *y = &b->items[i];

		if (strcmp(x->name, y->name) != 0 || x->dtype != y->dtype ||
		    x->rank != y->rank || x->count != y->count ||
		    (uintptr_t)x->data % 64 != 0)
			abort();
		for (uint32_t k = 0; k < x->rank; k++)
			if (x->shape[k] != y->shape[k])
				abort();
		if (x->dtype == SOMA_STRING)
			check_strings(x, y);
		else if (x->count && memcmp(x->data, y->data,
					    x->count * dtype_size(x->dtype)))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct soma_ports ports = {.inputs = inputs,
				   .n_inputs = ARRAY_LEN(inputs)};
	struct tensors t, again;
	struct err err = {0};
	struct buf json;

	if (size < 1)
		return 0;
	ports.open = data[0] & 1;
	tensors_init(&t);
	tensors_init(&again);
	buf_init(&json, 64 << 20);
	if (tensors_read(&t, &ports, (const char *)data + 1, size - 1, &err)) {
		if (!err.msg[0] || err.code != E_INVALID)
			abort();
	} else {
		struct soma_response out = {.outputs = t.items,
					    .n_outputs = t.n};

		if (tensors_write(&json, &out, &err) ||
		    tensors_read(&again, &ports, json.data, json.len, &err))
			abort();
		check_same(&t, &again);
	}
	buf_fini(&json);
	tensors_fini(&t);
	tensors_fini(&again);
	return 0;
}
