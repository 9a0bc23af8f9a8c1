/* upgrade.c: `soma upgrade`. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/term.h"
#include "core/mem.h"

/* What the daemon is told: the path as it is from anywhere. NULL: printed. */
static char *order(const char *binary)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char real[PATH_MAX];
	size_t len;

	yyjson_mut_doc_set_root(doc, root);
	if (!binary)
		return json_write(doc, &len);
	if (!realpath(binary, real)) {
		term_fail(CLI_USAGE, "--binary '%s': %s", binary,
			  strerror(errno));
		return NULL;
	}
	yyjson_mut_obj_add_str(doc, root, "binary", real);
	return json_write(doc, &len);
}

int cmd_upgrade(const struct args *a)
{
	cleanup_free char *text = order(args_value(a, "binary"));
	struct body body = {0};

	if (!text)
		return CLI_USAGE;
	body.data = text;
	body.len = strlen(text);
	return admin_show(a, "POST", "/v1/upgrade", &body, admin_message);
}
