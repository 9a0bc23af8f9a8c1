/* history.c: `soma history`. */
#include <string.h>

#include "cli/admin.h"
#include "cli/term.h"
#include "core/mem.h"

static const char *const header[] = {"revision", "state", "created", "by",
				     "why"};

/* The first line alone: a table has a row for each. */
static int first_line(const char *text)
{
	return (int)strcspn(text, "\n");
}

static void print_revisions(yyjson_val *root)
{
	yyjson_val *revisions = yyjson_obj_get(root, "revisions"), *r;
	struct table t;
	size_t i, n;

	table_init(&t, ARRAY_LEN(header), header);
	yyjson_arr_foreach(revisions, i, n, r)
	{
		const char *canary = json_str(r, "canary", "-");
		const char *why = json_str(r, "why", canary);

		table_cell(&t, "%lld", (long long)json_int(r, "revision", 0));
		table_cell(&t, "%s", json_str(r, "state", "?"));
		table_cell(&t, "%s", json_str(r, "created", "-"));
		table_cell(&t, "%s", json_str(r, "origin", "-"));
		table_cell(&t, "%.*s", first_line(why), why);
	}
	table_print(&t);
	table_fini(&t);
}

int cmd_history(const struct args *a)
{
	cleanup_free char *path =
		admin_path("apis", args_word(a, 0), "/revisions");

	return admin_show(a, "GET", path, NULL, print_revisions);
}
