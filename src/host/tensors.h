/* tensors.h: JSON to the tensors of a request, and those of a response to
 * JSON. */
#ifndef HOST_TENSORS_H
#define HOST_TENSORS_H

#include <yyjson.h>

#include "core/buf.h"
#include "core/err.h"
#include "soma_engine.h"

/* The inputs of one request. Its memory is kept for the next one. */
struct tensors {
	struct soma_tensor *items; /* owned */
	uint32_t n, cap;
	char *data; /* owned: all elements, each tensor aligned to 64 */
	size_t data_cap;
	yyjson_doc *doc; /* owned, while strings point into it */
	char *pool;	 /* owned: what the parser works in, when it is small */
	size_t pool_size;
};

void tensors_init(struct tensors *t);
void tensors_fini(struct tensors *t);
/* Empties it; gives back memory that was exceptionally large. */
void tensors_reset(struct tensors *t);

/* Reads {"NAME": VALUE, ...} into the empty t, checked against the ports:
 * which values are lists of what is told by the port's dtype and shape. On
 * failure E_INVALID in words for the client. */
int tensors_read(struct tensors *t, const struct soma_ports *ports,
		 const char *json, size_t len, struct err *err);

/* Adds {"NAME": VALUE, ...} to b. NaN and infinities become null, bytes that
 * are not UTF-8 U+FFFD. E_INTERNAL when the engine's response is malformed,
 * E_TOOBIG when b is full. */
int tensors_write(struct buf *b, const struct soma_response *out,
		  struct err *err);

#endif
