/* elements.h: rows of JSON values to elements of a tensor, and back to text. */
#ifndef HOST_ELEMENTS_H
#define HOST_ELEMENTS_H

#include <yyjson.h>

#include "core/buf.h"
#include "soma_engine.h"

/* Converts n values that lie one after another, as the items of a list without
 * lists inside do. Returns the index of the first that the dtype does not hold,
 * n when all did. Strings point into the document. */
size_t elements_read(enum soma_dtype dtype, yyjson_val *first, size_t n,
		     void *out);

/* Adds "1,2,3". */
void elements_write(struct buf *b, enum soma_dtype dtype, const void *data,
		    size_t n);

#endif
