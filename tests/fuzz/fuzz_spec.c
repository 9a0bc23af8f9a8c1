/* Any bytes as a config file: no crash, no leak, and what is accepted comes
 * back from its JSON as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "spec/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Has what ends as a name or a directory would. */
static int kind_of(void *data, const char *path)
{
	(void)data;
	return strstr(path, "no") ? 0 : strchr(path, '.') ? 1 : 2;
}

static void check_json(const struct spec *spec)
{
	cleanup_free char *json = spec_to_json(spec);
	cleanup_free char *again = NULL;
	struct spec_set back;

	if (spec_from_json(&back, json, strlen(json), NULL) != 0)
		abort();
	again = spec_to_json(back.specs);
	if (strcmp(json, again) != 0)
		abort();
	spec_set_fini(&back);
}

static void check_problems(struct spec_set *set)
{
	uint32_t line = 0;

	for (uint32_t i = 0; i < set->n_problems; i++) {
		const struct problem *p = &set->problems[i];
		const char *text = spec_problem_line(set, "soma.yaml", p);

		/* One line each, in the file's order. */
		if (strpbrk(text, "\n\r\x1b") || (p->line && p->line < line))
			abort();
		line = p->line;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct spec_files files = {.kind_of = kind_of};
	struct spec_set set;

	if (spec_parse(&set, "soma.yaml", (const char *)data, size, &files) ==
	    0)
		for (uint32_t i = 0; i < set.n_specs; i++)
			check_json(&set.specs[i]);
	check_problems(&set);
	spec_set_fini(&set);

	spec_from_json(&set, (const char *)data, size, NULL);
	spec_set_fini(&set);
	return 0;
}
