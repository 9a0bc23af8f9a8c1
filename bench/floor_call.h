/* One call of ONNX Runtime's C API: what a native model is at least. */
#ifndef FLOOR_CALL_H
#define FLOOR_CALL_H

struct call;

/* MODEL with one thread. INPUTS is a file: for each input a line "name type
 * bytes dimension...", then its bytes; types are numbers of the C API. Prints
 * why and exits where that fails. */
struct call *call_open(const char *library, const char *model,
		       const char *inputs);

/* Makes its tensors anew over the inputs' bytes, as one must for each request,
 * and runs. Returns the first number of the first output. */
float call_once(struct call *c);

/* Calls in a bare loop for so many seconds; prints one line of JSON. */
void call_loop(struct call *c, double seconds);

#endif
