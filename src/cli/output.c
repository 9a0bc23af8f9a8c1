#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "core/mem.h"
#include "spec/emit.h"

enum { OUTPUT_BYTES_MAX = 1 << 30 };

int output_read(const struct args *a, enum output *ret)
{
	static const char *const words[] = {"table", "json", "yaml"};
	const char *given = args_value(a, "output");

	*ret = OUTPUT_TABLE;
	if (!given)
		return CLI_OK;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(given, words[i]) == 0) {
			*ret = (enum output)i;
			return CLI_OK;
		}
	}
	return term_fail(CLI_USAGE,
			 "--output is 'table', 'json' or 'yaml', not '%s'",
			 given);
}

static void print_yaml(yyjson_val *val, bool stream)
{
	struct buf out;

	buf_init(&out, OUTPUT_BYTES_MAX);
	emit_yaml(&out, val, stream);
	fwrite(out.data, 1, out.len, stdout);
	buf_fini(&out);
}

/* Each line by its depth: yyjson indents no numbers that are kept as they were
 * written. A line's text has its brackets only where a list or map begins and
 * ends. */
static void print_indented(const char *text)
{
	int depth = 0;

	while (*text) {
		size_t n = strcspn(text, "\n"), skip = strspn(text, " ");
		char first = text[skip], last = n > 0 ? text[n - 1] : '\0';

		if (first == ']' || first == '}')
			depth--;
		printf("%*s%.*s\n", depth * 2, "", (int)(n - skip),
		       text + skip);
		if (last == '[' || last == '{')
			depth++;
		text += n + (text[n] == '\n');
	}
}

void output_print(enum output how, yyjson_val *val)
{
	char *text;

	if (how == OUTPUT_YAML) {
		print_yaml(val, false);
		return;
	}
	text = yyjson_val_write(val, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL);
	if (!text)
		abort();
	print_indented(text);
	free(text);
}

void output_print_item(enum output how, yyjson_val *val)
{
	cleanup_free char *json = NULL;

	if (how == OUTPUT_YAML) {
		print_yaml(val, true);
		return;
	}
	json = json_write_val(val, NULL);
	puts(json);
}
