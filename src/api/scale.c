/* scale.c: the number of replicas, by hand, and why it is what it is. */
#include <string.h>

#include "api/admin.h"
#include "core/json.h"
#include "core/mem.h"
#include "serve/explain.h"

enum { BODY_MAX = 1024, REPLICAS_MAX = 10000 };

/* Until what was said is durable. */
struct waiting {
	struct http_req *req; /* NULL: gone */
	char *name;	      /* owned */
	uint32_t n;
};

static void on_over(struct http_req *req)
{
	struct waiting *w = req->user;

	if (w)
		w->req = NULL;
}

static void on_kept(void *data, const struct err *err)
{
	struct waiting *w = data;

	if (w->req) {
		w->req->user = NULL;
		if (err)
			admin_error(w->req, err);
		else
			http_replyf(w->req, 200, "application/json",
				    "{\"message\":\"%s: %u replica%s wanted, "
				    "%s\",\"replicas\":%u}",
				    w->name, w->n, w->n == 1 ? "" : "s",
				    w->n ? "for five minutes at least"
					 : "until the next request",
				    w->n);
	}
	free(w->name);
	free(w);
}

static void set(struct http_req *req, struct api *a, uint32_t n)
{
	struct waiting *w = mem_alloc(sizeof *w);
	struct err err = {0};

	*w = (struct waiting){req, mem_strdup(a->name), n};
	if (!scale_set(a, n, on_kept, w, &err)) {
		req->user = w;
		req->on_over = on_over;
		return;
	}
	free(w->name);
	free(w);
	admin_error(req, &err);
}

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
	else
		set(req, a, (uint32_t)n);
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
