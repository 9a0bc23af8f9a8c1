/* upgrade.c: another daemon takes this one's place. */
#include <string.h>

#include "api/admin.h"
#include "core/json.h"

enum { BODY_MAX = 8192 };

static void on_body(struct http_req *req, const char *body, size_t len)
{
	cleanup_json yyjson_doc *doc = len ? json_parse(body, len, NULL) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc);
	yyjson_val *binary = yyjson_obj_get(root, "binary");
	const char *program = binary ? yyjson_get_str(binary) : "";

	if ((len && !yyjson_is_obj(root)) || !program ||
	    (binary && program[0] != '/')) {
		http_reply_error(req, E_INVALID,
				 "the body is {} or {\"binary\": PATH}, with "
				 "the absolute path of a program");
		return;
	}
	admin_of(req)->upgrade(req, program);
}

void admin_upgrade(struct http_req *req, const char *arg)
{
	(void)arg;
	http_req_body(req, BODY_MAX, on_body);
}
