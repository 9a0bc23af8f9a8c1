/* info.c: what this daemon is and where. */
#include <unistd.h>

#include "api/admin.h"
#include "core/json.h"
#include "core/mem.h"

void admin_info(struct http_req *req, const char *arg)
{
	struct admin *admin = admin_of(req);
	struct serve *s = admin->serve;
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	cleanup_free char *json = NULL;
	size_t len;

	(void)arg;
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "version", SOMA_VERSION);
	yyjson_mut_obj_add_int(doc, root, "pid", getpid());
	yyjson_mut_obj_add_int(doc, root, "keeper_pid", admin->keeper_pid);
	yyjson_mut_obj_add_strcpy(doc, root, "data_dir", s->data_dir);
	yyjson_mut_obj_add_strcpy(doc, root, "data_url", s->data_url);
	yyjson_mut_obj_add_strcpy(doc, root, "admin_url", admin->url);
	yyjson_mut_obj_add_uint(doc, root, "uptime_ms",
				uv_now(s->loop) - admin->started_ms);
	yyjson_mut_obj_add_uint(doc, root, "apis", s->apis.len);
	yyjson_mut_obj_add_str(doc, root, "cgroups",
			       cgroup_mode_name(s->local.groups.mode));
	json = json_write(doc, &len);
	http_reply(req, 200, "application/json", json, len);
}
