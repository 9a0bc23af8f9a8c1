/* Any words as the box's command line: no crash, and what is refused says the
 * option. The words are apart by NUL bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "box/options.h"
#include "core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS_MAX = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = mem_alloc(size + 1);
	char *argv[WORDS_MAX + 1] = {(char *)(uintptr_t) "box"};
	struct box_options o;
	struct fail f = {0};
	int argc = 1;

	memcpy(text, data, size);
	for (char *p = text; p < text + size && argc < WORDS_MAX;
	     p += strlen(p) + 1)
		argv[argc++] = p;
	if (options_parse(&o, argc, argv, &f) == 0) {
		if (!o.help && !o.report && (!o.program || !o.program[0]))
			abort();
	} else if (!f.message[0]) {
		abort();
	}
	return 0;
}
