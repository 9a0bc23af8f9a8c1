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

void output_print(enum output how, yyjson_val *val)
{
	char *text;
	size_t len;

	if (how == OUTPUT_YAML) {
		print_yaml(val, false);
		return;
	}
	text = yyjson_val_write(val, YYJSON_WRITE_PRETTY_TWO_SPACES, &len);
	if (!text)
		abort();
	fwrite(text, 1, len, stdout);
	fputc('\n', stdout);
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
