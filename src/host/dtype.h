/* dtype.h: the element types of tensors: names, sizes, half floats; and what a
 * port wants, in words. */
#ifndef HOST_DTYPE_H
#define HOST_DTYPE_H

#include <stdint.h>

#include "core/buf.h"
#include "soma_engine.h"

/* "float32"; "any" for SOMA_ANY, NULL for a number that is none. */
const char *dtype_name(enum soma_dtype dtype);
/* Bytes of one element; 0 for SOMA_ANY and what is none. */
size_t dtype_size(enum soma_dtype dtype);

float half_to_float(uint16_t half);
/* To the nearest, ties to even; infinity when it is too large. */
uint16_t half_of_float(float f);
float bfloat16_to_float(uint16_t b);
uint16_t bfloat16_of_float(float f);

/* "float32 [batch,3]"; "int64" for a scalar. */
void port_describe(struct buf *b, const struct soma_port *port);

#endif
