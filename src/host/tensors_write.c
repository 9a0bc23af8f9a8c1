#include <inttypes.h>

#include "core/json.h"
#include "host/dtype.h"
#include "host/elements.h"
#include "host/tensors.h"

static int check(const struct soma_tensor *t, uint32_t i, struct err *err)
{
	size_t count = 1;

	if (!t->name)
		return err_set(err, E_INTERNAL,
			       "the engine's output %u has no name", i);
	if (!dtype_size(t->dtype) || t->rank > SOMA_RANK_MAX)
		return err_set(err, E_INTERNAL,
			       "the engine's output '%s' has no known dtype "
			       "(%d) or too many dimensions (%u)",
			       t->name, (int)t->dtype, t->rank);
	for (uint32_t k = 0; k < t->rank; k++)
		if (t->shape[k] < 0 ||
		    __builtin_mul_overflow(count, (size_t)t->shape[k], &count))
			return err_set(err, E_INTERNAL,
				       "the engine's output '%s' has the "
				       "dimension %" PRId64,
				       t->name, t->shape[k]);
	if (count != t->count || (count && !t->data))
		return err_set(err, E_INTERNAL,
			       "the engine's output '%s' has %zu elements, its "
			       "shape says %zu",
			       t->name, t->data ? t->count : 0, count);
	return 0;
}

static void write_level(struct buf *b, const struct soma_tensor *t,
			uint32_t level, const char **at)
{
	size_t n = level < t->rank ? (size_t)t->shape[level] : 1;

	if (level < t->rank)
		buf_addc(b, '[');
	if (level + 1 >= t->rank) {
		elements_write(b, t->dtype, *at, n);
		*at += n * dtype_size(t->dtype);
	} else {
		for (size_t i = 0; i < n && !b->full; i++) {
			if (i)
				buf_addc(b, ',');
			write_level(b, t, level + 1, at);
		}
	}
	if (level < t->rank)
		buf_addc(b, ']');
}

int tensors_write(struct buf *b, const struct soma_response *out,
		  struct err *err)
{
	buf_addc(b, '{');
	for (uint32_t i = 0; i < out->n_outputs; i++) {
		const struct soma_tensor *t = &out->outputs[i];
		const char *at = t->data;

		if (check(t, i, err))
			return err->code;
		if (i)
			buf_addc(b, ',');
		json_quote(b, str_of(t->name));
		buf_addc(b, ':');
		write_level(b, t, 0, &at);
	}
	buf_adds(b, "}");
	return b->full ? err_set(err, E_TOOBIG,
				 "the outputs make more than %zu bytes of JSON",
				 b->max)
		       : 0;
}
