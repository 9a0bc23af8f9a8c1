/* One call of ONNX Runtime's C API: what a native model is at least. */
#ifndef FLOOR_CALL_H
#define FLOOR_CALL_H

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

/* The same as a server of JSON must do it: reads the inputs out of {"name":
 * nested lists, ...} and returns {"name": list, ...} of the outputs, valid
 * until the next call, with yyjson and no memory taken but once. NULL for a
 * body that is not that. Shapes stay those of INPUTS. */
const char *call_json(struct call *c, const char *body, size_t n,
		      size_t *ret_n);

/* Calls in a bare loop for so many seconds; prints one line of JSON. */
void call_loop(struct call *c, double seconds);

#endif
