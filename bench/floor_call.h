/* One call of ONNX Runtime's C API: what a native model is at least. */
#ifndef FLOOR_CALL_H
#define FLOOR_CALL_H

#include <stdbool.h>
#include <stddef.h>

struct call;

/* MODEL with one thread. INPUTS is a file: for each input a line "name type
 * bytes dimension...", then its bytes; types are numbers of the C API. Prints
 * why and exits where that fails. */
struct call *call_open(const char *library, const char *model,
		       const char *inputs);

/* Makes its tensors anew over the inputs' bytes, as one must for each request,
 * and runs. Returns the first number of the first output. */
float call_once(struct call *c);

/* The same as a server of JSON must do it, for as many rows at once as have
 * been put, with yyjson and no memory taken but once. */
enum { CALL_ROWS_MAX = 64 };

/* Reads the inputs of a row, below CALL_ROWS_MAX, out of {"name": nested lists,
 * ...}. INPUTS has one row, whose shapes stay; in a call of several, each
 * input's first dimension counts the rows. False for a body that is not that.
 */
bool call_put(struct call *c, size_t row, const char *body, size_t n);

/* Calls once with the first `rows` rows. */
void call_rows(struct call *c, size_t rows);

/* {"name": list, ...} of a row's outputs, valid until the next. */
const char *call_told(struct call *c, size_t row, size_t *ret_n);

/* Calls in a bare loop for so many seconds; prints one line of JSON. */
void call_loop(struct call *c, double seconds);

#endif
