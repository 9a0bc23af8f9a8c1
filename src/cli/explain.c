#include "cli/admin.h"
#include "core/mem.h"

static void print_text(yyjson_val *root)
{
	yyjson_val *lines = yyjson_obj_get(root, "text");
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

	return admin_show(a, "GET", path, NULL, print_text);
}
