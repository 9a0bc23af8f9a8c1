/* Any two bodies, parted by the first line end: no crash, no answer differs
 * from itself, and which is which makes no difference. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "serve/differ.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is nested deeper than is looked at is taken for another. */
static bool is_deep(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '[' || s.p[i] == '{';
	return n > 200;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const char *end = size ? memchr(text, '\n', size) : NULL;
	size_t n = end ? (size_t)(end - text) : size;
	struct str a = {text, n};
	struct str b = {text + n + (end != NULL), size - n - (end != NULL)};
	double there = 0, back = 0, none = 0;

	if (answers_differ(a, b, 1e-6, &there) !=
		    answers_differ(b, a, 1e-6, &back) ||
	    there < back || back < there)
		abort();
	if (!isfinite(there) || there < 0 || there > 2)
		abort();
	if ((!is_deep(a) && answers_differ(a, a, 0, &none)) || none > 0)
		abort();
	return 0;
}
