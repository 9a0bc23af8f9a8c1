/* promote.c: weights of a splitter, by hand. */
#include <string.h>

#include "api/admin.h"
#include "core/json.h"
#include "core/mem.h"

enum { BODY_MAX = 1024 };

/* Until the weights are durable. */
struct waiting {
	struct http_req *req; /* NULL: gone */
	char *name, *target;  /* owned */
	uint32_t weight;
	bool ramped; /* it had steps to come */
};

static void on_over(struct http_req *req)
{
	struct waiting *w = req->user;

	if (w)
		w->req = NULL;
}

static void on_applied(void *data, const struct err *err,
		       enum serve_change change, struct api *a)
{
	struct waiting *w = data;

	(void)a;
	if (w->req) {
		w->req->user = NULL;
		if (err)
			admin_error(w->req, err);
		else
			http_replyf(
				w->req, 200, "application/json",
				"{\"message\":\"%s: %s %s %u%% of the "
				"requests%s\",\"api\":\"%s\",\"weight\":%u}",
				w->name, w->target,
				change == SERVE_UNCHANGED ? "has already"
							  : "has now",
				w->weight,
				w->ramped ? "; its canary takes no "
					    "further steps"
					  : "",
				w->target, w->weight);
	}
	free(w->name);
	free(w->target);
	free(w);
}

static void promote(struct http_req *req, const struct api *a,
		    const char *target, uint32_t weight)
{
	struct waiting *w;
	cleanup_free char *spec_json = NULL;
	struct err err = {0};
	char *name;

	if (splitter_promote(a, target, weight, &spec_json, &name, &err)) {
		admin_error(req, &err);
		return;
	}
	w = mem_alloc(sizeof *w);
	*w = (struct waiting){req, mem_strdup(a->name), name, weight,
			      a->splitter->ramp &&
				      a->splitter->ramp->state == RAMP_STEPS};
	req->user = w;
	req->on_over = on_over;
	serve_apply(a->serve, spec_json, NULL, false, on_applied, w);
}

static void on_body(struct http_req *req, const char *body, size_t len)
{
	const char *name = req->user;
	struct err err = {0};
	cleanup_json yyjson_doc *doc = json_parse(body, len, &err);
	yyjson_val *root = yyjson_doc_get_root(doc);
	int64_t weight = json_int(root, "weight", 100);
	const struct api *a;

	req->user = NULL;
	a = admin_api(req, name);
	if (!a)
		return;
	if (!doc)
		admin_error(req, &err);
	else if (weight < 0 || weight > 100)
		http_reply_error(req, E_INVALID,
				 "weight: give a percentage from 0 to 100");
	else
		promote(req, a, json_str(root, "api", NULL), (uint32_t)weight);
}

void admin_promote_api(struct http_req *req, const char *arg)
{
	req->user = (void *)(uintptr_t)arg;
	http_req_body(req, BODY_MAX, on_body);
}
