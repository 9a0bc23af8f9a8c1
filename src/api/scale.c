/* scale.c: the number of replicas, by hand, and why it is what it is. */
#include <string.h>

#include "api/admin.h"
#include "core/json.h"
#include "core/mem.h"
#include "serve/explain.h"

enum { BODY_MAX = 1024, REPLICAS_MAX = 10000 };

static void on_body(struct http_req *req, const char *body, size_t len)
{
	const char *name = req->user;
	struct api *a;
	struct err err = {0};
	cleanup_json yyjson_doc *doc = json_parse(body, len, &err);
	int64_t n = json_int(yyjson_doc_get_root(doc), "replicas", -1);

	req->user = NULL;
	a = admin_api(req, name);
	if (!a)
		return;
	if (n < 0 || n > REPLICAS_MAX)
		http_reply_error(req, E_INVALID,
				 "replicas: give a number from 0 to %d",
				 REPLICAS_MAX);
	else if (scale_set(a, (uint32_t)n, &err))
		admin_error(req, &err);
	else
		http_replyf(req, 200, "application/json",
			    "{\"message\":\"%s: %lld replica%s wanted, %s\","
			    "\"replicas\":%lld}",
			    a->name, (long long)n, n == 1 ? "" : "s",
			    n ? "for five minutes at least"
			      : "until the next request",
			    (long long)n);
}

void admin_scale_api(struct http_req *req, const char *arg)
{
	req->user = (void *)(uintptr_t)arg;
	http_req_body(req, BODY_MAX, on_body);
}

void admin_explain_api(struct http_req *req, const char *arg)
{
	struct api *a = admin_api(req, arg);
	cleanup_free char *json = a ? explain_json(a) : NULL;

	if (json)
		http_reply(req, 200, "application/json", json, strlen(json));
}
