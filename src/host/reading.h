/* reading.h: what the two halves of tensors_read share: the reading itself, and
 * the words for what does not fit (unfit.c). */
#ifndef HOST_READING_H
#define HOST_READING_H

#include "host/tensors.h"

/* One reading: what all its steps look at. */
struct reading {
	struct tensors *t;
	const struct soma_ports *ports;
	yyjson_val **values; /* by port, then those of other names */
	yyjson_val **keys;   /* of the others */
	size_t n_values;     /* in the whole document: no tensor has more */
	size_t at[SOMA_RANK_MAX]; /* where fill() is, for messages */
	struct err *err;
};

/* All fill in->err and return E_INVALID. */

/* "input 'x' wants float32 [batch,3]: TEXT" */
int unfit(struct reading *in, const struct soma_port *port, const char *fmt,
	  ...) __attribute__((format(printf, 3, 4)));
/* The value v at in->at has not the dtype of t. */
int unfit_element(struct reading *in, const struct soma_port *port,
		  const struct soma_tensor *t, yyjson_val *v);
/* v, at in->at[0..level), is no list, or not as long as the first one there. */
int unfit_ragged(struct reading *in, const struct soma_port *port,
		 const struct soma_tensor *t, uint32_t level, yyjson_val *v);
int unfit_shape(struct reading *in, const struct soma_port *port,
		const struct soma_tensor *t);
int unfit_unknown(struct reading *in, const char *name);
int unfit_missing(struct reading *in, const struct soma_port *port);
/* "a list", "an object", "null"; NULL for a single value. */
const char *unfit_kind(yyjson_val *v);

#endif
