/* Any bytes as a file of weights: no crash, what is wrong is said in words, and
 * what is accepted lies within the file, with all its elements. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "weights/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes that the tensor's elements reach: what is accepted is within a file,
 * so nothing overflows. */
static uint64_t reach(const struct weights_tensor *t)
{
	uint64_t last = 0, step = 1;

	for (uint32_t i = 0; i < t->n_dims; i++)
		if (!t->shape[i])
			return 0;
	for (uint32_t i = t->n_dims; i-- > 0;) {
		last += (t->shape[i] - 1) * (t->stride ? t->stride[i] : step);
		step *= t->shape[i];
	}
	return (last + 1) * weights_dtype_size(t->dtype);
}

static void check(const struct weights *w, size_t size)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct weights_tensor *t = &w->tensors[i];

		if (t->offset > size || t->bytes > size - t->offset ||
		    reach(t) != t->bytes || t->n_dims > WEIGHTS_MAX_DIMS ||
		    !weights_dtype_name(t->dtype))
			abort();
		for (size_t k = 0; k < i && i < 100; k++)
			if (strcmp(t->name, w->tensors[k].name) == 0)
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {0};
	struct weights w;

	if (weights_parse(&w, data, size, &err)) {
		if (err.code != E_UNPROCESSABLE || !err.msg[0] || w.n)
			abort();
		return 0;
	}
	if (err.msg[0])
		abort();
	check(&w, size);
	weights_fini(&w);
	return 0;
}
