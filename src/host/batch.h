/* batch.h: the inputs of several requests behind one another, and each one's
 * rows of what comes out. A row is an element of the first dimension. */
#ifndef HOST_BATCH_H
#define HOST_BATCH_H

#include "core/err.h"
#include "host/tensors.h"

/* Of one slot. Its memory is kept for the next batch. */
struct batch {
	struct soma_tensor *in; /* owned: all requests' rows */
	uint32_t n_in;
	int64_t rows;
	/* private */
	const struct tensors **parts; /* owned, n_parts borrowed ones */
	uint32_t n_parts, max_parts;
	uint32_t cap;
	char *data; /* owned: each tensor aligned to 64 */
	size_t data_cap;
	struct soma_tensor *out; /* owned: one request's rows of a response */
	uint32_t cap_out;
};

/* Whether requests of a model with these inputs can be joined at all; else
 * E_UNPROCESSABLE in words for who deploys it. `key` of the predictor asks for
 * it. */
int batch_check_ports(const struct soma_ports *ports, const char *key,
		      struct err *err);
/* The rows of a request: the size of the first dimension of its inputs. 0: they
 * have none in common, and it can be joined with nothing. Inputs without
 * dimensions do not count. */
int64_t batch_rows(const struct tensors *t);
/* Whether two requests that have rows can be joined: the same inputs of the
 * same dtypes and, but for the first dimension, shapes. Inputs without
 * dimensions are the batch's: they must be equal. */
bool batch_fit(const struct tensors *a, const struct tensors *b);

void batch_init(struct batch *b, uint32_t max_parts);
void batch_fini(struct batch *b);
/* Empties it; gives back memory that was exceptionally large. */
void batch_reset(struct batch *b);
/* Adds a request that fits to those before it, and stays as it is until the
 * batch is reset. */
void batch_add(struct batch *b, const struct tensors *t);
/* Makes `in` of them. E_NOMEM. */
int batch_join(struct batch *b, struct err *err);
/* Whether each output has as many rows as all inputs together; else E_INTERNAL
 * with the output's name. What else may be wrong with it tensors_write says. */
int batch_check(const struct batch *b, const struct soma_response *out,
		struct err *err);
/* The rows of a response that answer to the rows [first, first + n) of the
 * inputs. It lives until the next call, and as long as `out`. */
struct soma_response batch_cut(struct batch *b, const struct soma_response *out,
			       int64_t first, int64_t n);

#endif
