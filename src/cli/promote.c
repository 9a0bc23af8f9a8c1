#include <string.h>

#include "cli/admin.h"
#include "cli/split.h"
#include "cli/term.h"
#include "core/json.h"
#include "core/mem.h"

static void print_splitter(yyjson_val *root)
{
	split_print(yyjson_obj_get(root, "splitter"));
}

static int show(const struct args *a)
{
	cleanup_free char *path = admin_path("apis", args_word(a, 0), "");

	if (args_word(a, 1) || args_value(a, "weight"))
		return term_fail(CLI_USAGE, "--show changes nothing: leave API "
					    "and --weight out");
	return admin_show(a, "GET", path, NULL, print_splitter);
}

/* Names of apis have nothing to be quoted; what is no name is not found. */
int cmd_promote(const struct args *a)
{
	const char *api = args_word(a, 1);
	const char *weight = args_value(a, "weight");
	cleanup_free char *path =
		admin_path("apis", args_word(a, 0), "/promote");
	cleanup_free char *text = NULL;
	struct body body = {0};
	struct buf b;
	uint64_t n;

	if (args_has(a, "show"))
		return show(a);
	if (!weight)
		weight = "100";
	if (!str_u64(str_of(weight), &n) || n > 100)
		return term_fail(
			CLI_USAGE,
			"--weight: '%s' is no percentage from 0 to 100",
			weight);
	buf_init(&b, 4096);
	buf_addf(&b, "{\"weight\":%llu", (unsigned long long)n);
	if (api) {
		buf_adds(&b, ",\"api\":");
		json_quote(&b, str_of(api));
	}
	buf_addc(&b, '}');
	text = buf_take(&b, NULL);
	body.data = text;
	body.len = strlen(text);
	return admin_show(a, "POST", path, &body, admin_message);
}
