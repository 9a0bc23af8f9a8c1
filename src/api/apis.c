/* apis.c: GET, DELETE, refresh and rollback of apis, and their history. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/admin.h"
#include "core/json.h"
#include "core/mem.h"

enum { LIST_MAX = 64 << 20, BODY_MAX = 1024 };

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct api *const *)a)->name,
		      (*(const struct api *const *)b)->name);
}

void admin_list_apis(struct http_req *req, const char *arg)
{
	struct serve *s = admin_of(req)->serve;
	struct api **list = mem_alloc((s->apis.len + 1) * sizeof *list), *a;
	struct buf b;
	size_t n = 0;

	(void)arg;
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		list[n++] = a;
	qsort(list, n, sizeof *list, by_name);
	buf_init(&b, LIST_MAX);
	buf_adds(&b, "{\"apis\":[");
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *json = api_json(list[i]);

		if (i)
			buf_addc(&b, ',');
		buf_adds(&b, json);
	}
	buf_adds(&b, "]}");
	http_reply(req, 200, "application/json", b.data, b.len);
	buf_fini(&b);
	free(list);
}

void admin_get_api(struct http_req *req, const char *arg)
{
	struct api *a = admin_api(req, arg);
	cleanup_free char *json = a ? api_json(a) : NULL;

	if (json)
		http_reply(req, 200, "application/json", json, strlen(json));
}

/* A request that waits for a change to be durable. Its client may go first:
 * the change goes on, the answer is dropped. */
struct waiting {
	struct http_req *req; /* NULL: gone */
	char *name;	      /* owned */
};

static void on_over(struct http_req *req)
{
	struct waiting *w = req->user;

	if (w)
		w->req = NULL;
}

static struct waiting *wait_for(struct http_req *req, const char *name)
{
	struct waiting *w = mem_alloc(sizeof *w);

	w->req = req;
	w->name = mem_strdup(name);
	req->user = w;
	req->on_over = on_over;
	return w;
}

static void waited(struct waiting *w)
{
	if (w->req)
		w->req->user = NULL;
	free(w->name);
	free(w);
}

static void on_deleted(void *data, const struct err *err)
{
	struct waiting *w = data;

	if (w->req && err)
		admin_error(w->req, err);
	else if (w->req)
		http_replyf(w->req, 200, "application/json",
			    "{\"message\":\"deleting %s\"}", w->name);
	waited(w);
}

void admin_delete_api(struct http_req *req, const char *arg)
{
	struct api *a = admin_api(req, arg);

	if (a)
		serve_delete(admin_of(req)->serve, a, on_deleted,
			     wait_for(req, arg));
}

static const char *kind_of(const struct api *a)
{
	return a->want ? a->want->spec->kind : "";
}

static const char *endpoint_of(const struct api *a)
{
	return a->want ? a->want->spec->endpoint : "";
}

static void on_refreshed(void *data, const struct err *err,
			 enum serve_change change, struct api *a)
{
	struct waiting *w = data;

	(void)change;
	if (w->req && err)
		admin_error(w->req, err);
	else if (w->req)
		http_replyf(w->req, 200, "application/json",
			    "{\"message\":\"updating %s (%s)\","
			    "\"name\":\"%s\",\"kind\":\"%s\","
			    "\"change\":\"updated\",\"url\":\"%s%s\","
			    "\"revision\":%lld}",
			    w->name, kind_of(a), w->name, kind_of(a),
			    a->serve->data_url, endpoint_of(a),
			    a->want ? (long long)a->want->number : 0LL);
	waited(w);
}

void admin_refresh_api(struct http_req *req, const char *arg)
{
	struct api *a = admin_api(req, arg);

	if (a)
		serve_refresh(admin_of(req)->serve, a, on_refreshed,
			      wait_for(req, arg));
}

void admin_history(struct http_req *req, const char *arg)
{
	struct api *a = admin_api(req, arg);
	cleanup_free char *json = a ? history_json(a) : NULL;

	if (json)
		http_reply(req, 200, "application/json", json, strlen(json));
}

/* {"to": N}, or no body for the one before. */
static void on_roll_back_body(struct http_req *req, const char *body,
			      size_t len)
{
	const char *name = req->user;
	struct err err = {0};
	cleanup_json yyjson_doc *doc = len ? json_parse(body, len, &err) : NULL;
	yyjson_val *to = yyjson_obj_get(yyjson_doc_get_root(doc), "to");
	struct api *a;

	req->user = NULL;
	a = admin_api(req, name);
	if (!a)
		return;
	if (err.code)
		admin_error(req, &err);
	else if (to && (!yyjson_is_int(to) || yyjson_get_sint(to) < 1))
		http_reply_error(req, E_INVALID,
				 "to: give the number of a revision; 'soma "
				 "history %s' shows them",
				 name);
	else
		serve_roll_back(admin_of(req)->serve, a,
				to ? yyjson_get_sint(to) : 0, on_refreshed,
				wait_for(req, name));
}

void admin_roll_back_api(struct http_req *req, const char *arg)
{
	req->user = (void *)(uintptr_t)arg;
	http_req_body(req, BODY_MAX, on_roll_back_body);
}
