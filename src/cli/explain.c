#include "cli/admin.h"
#include "cli/output.h"
#include "core/mem.h"

static void print_text(yyjson_val *lines)
{
	size_t i, n;
	yyjson_val *line;

	yyjson_arr_foreach(lines, i, n, line)
	{
		const char *text = yyjson_get_str(line);

		if (text)
			puts(text);
	}
}

int cmd_explain(const struct args *a)
{
	cleanup_free char *path =
		admin_path("apis", args_word(a, 0), "/explain");
	struct answer an;
	struct admin ad;
	enum output output;
	int rc = output_read(a, &output);

	if (rc == CLI_OK)
		rc = admin_open(&ad, a);
	if (rc != CLI_OK)
		return rc;
	rc = admin_call(&ad, "GET", path, NULL, &an);
	if (rc == CLI_OK) {
		if (output != OUTPUT_TABLE && an.json)
			output_print(output, answer_root(&an));
		else
			print_text(yyjson_obj_get(answer_root(&an), "text"));
		answer_fini(&an);
	}
	admin_close(&ad);
	return rc;
}
