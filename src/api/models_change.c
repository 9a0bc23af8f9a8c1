/* models_change.c: models are fetched, and removed. */
#include <string.h>

#include "api/models_parts.h"
#include "core/mem.h"
#include "core/str.h"

enum { BODY_MAX = 64 * 1024 };

/* ---- pull ---- */

/* A model that is fetched for the store itself. Its client hears a line of JSON
 * for what comes, and may leave. */
struct pull {
	struct model *model;
	struct model_user user;
	struct http_req *req; /* NULL: gone */
};

static void say(struct pull *p, yyjson_mut_doc *doc)
{
	if (p->req)
		models__say(p->req, doc);
}

static void put_end(yyjson_mut_doc *doc, yyjson_mut_val *o,
		    const struct model *m)
{
	if (m->state == MODEL_READY) {
		yyjson_mut_obj_add_str(doc, o, "state", "ready");
		yyjson_mut_obj_add_strcpy(doc, o, "path", m->path);
		yyjson_mut_obj_add_uint(doc, o, "bytes", m->bytes);
		yyjson_mut_obj_add_uint(doc, o, "n_files", m->files);
		if (m->message)
			yyjson_mut_obj_add_strcpy(doc, o, "message",
						  m->message);
		return;
	}
	yyjson_mut_obj_add_str(doc, o, "state", "failed");
	yyjson_mut_obj_add_strcpy(doc, o, "code", m->code ? m->code : "broken");
	yyjson_mut_obj_add_strcpy(doc, o, "message",
				  m->message ? m->message : "");
}

static void pull_tell(struct pull *p)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	const struct model *m = p->model;

	yyjson_mut_doc_set_root(doc, root);
	if (m->state != MODEL_FETCHING) {
		put_end(doc, root, m);
		say(p, doc);
		return;
	}
	yyjson_mut_obj_add_str(doc, root, "state", m->doing);
	yyjson_mut_obj_add_uint(doc, root, "done", m->done);
	yyjson_mut_obj_add_uint(doc, root, "total", m->total);
	yyjson_mut_obj_add_uint(doc, root, "rate", m->rate);
	say(p, doc);
}

static void on_progress(struct model_user *u)
{
	pull_tell(CONTAINER_OF(u, struct pull, user));
}

/* Once, whatever it is: who has asked may ask again. */
static void on_settled(struct model_user *u)
{
	struct pull *p = CONTAINER_OF(u, struct pull, user);

	pull_tell(p);
	if (p->req) {
		p->req->user = NULL;
		http_reply_end(p->req);
	}
	model_leave(&p->user);
	model_unref(p->model);
	free(p);
}

static void on_pull_over(struct http_req *req)
{
	struct pull *p = req->user;

	if (p)
		p->req = NULL;
}

static void on_drain(struct http_req *req)
{
	(void)req;
}

static void start_pull(struct http_req *req, const char *url)
{
	struct pull *p = mem_alloc(sizeof *p);
	struct err err = {0};

	if (model_get(&admin_of(req)->serve->models, url, NULL, NULL, &p->model,
		      &err)) {
		free(p);
		admin_error(req, &err);
		return;
	}
	list_init(&p->user.link);
	p->user.on_progress = on_progress;
	p->user.on_settled = on_settled;
	p->req = req;
	req->user = p;
	req->on_over = on_pull_over;
	http_reply_start(req, 200, "application/x-ndjson", on_drain);
	model_join(p->model, &p->user);
	if (p->model->state == MODEL_FAILED)
		on_settled(&p->user);
	else
		pull_tell(p);
}

static void on_pull_body(struct http_req *req, const char *body, size_t len)
{
	bool ok;
	const char *url = models__url(req, body, len, true, &ok);

	if (ok && models__check_url(req, url))
		start_pull(req, url);
}

void admin_models_pull(struct http_req *req, const char *arg)
{
	(void)arg;
	http_req_body(req, BODY_MAX, on_pull_body);
}

/* ---- rm ---- */

/* Whatever endpoints it came by. */
static void run_remove(struct models_job *j)
{
	models__read(j);
	for (size_t i = 0; i < j->n && !j->err.code; i++) {
		cleanup_free char *name = shelf_ref_name(&j->rows[i].ref);

		shelf_remove(&j->admin->serve->models.shelf, name, &j->err);
	}
}

static void answer_remove(struct models_job *j)
{
	uint64_t all = 0;
	char bytes[32];

	models_collect(&j->admin->serve->models);
	if (!j->req || !j->n)
		return;
	for (size_t i = 0; i < j->n; i++)
		all += j->rows[i].ref.bytes;
	str_human_bytes(all, bytes);
	http_replyf(j->req, 200, "application/json",
		    "{\"message\":\"removed a model of %s\"}", bytes);
}

void admin_models_remove(struct http_req *req, const char *arg)
{
	const struct serve *s = admin_of(req)->serve;
	const char *url = http_req_param(req, "url");
	cleanup_free char *users = NULL;

	(void)arg;
	if (!url) {
		http_reply_error(req, E_INVALID,
				 "which model? DELETE /v1/models?url=URL");
		return;
	}
	users = models__users(s, url);
	if (*users)
		http_reply_error(req, E_CONFLICT,
				 "'%.500s' is used by %s: delete that first",
				 url, users);
	else if (models_at(&s->models, url))
		http_reply_error(req, E_BUSY,
				 "'%.500s' is being fetched; try again when "
				 "that is over",
				 url);
	else
		models__start(req, url, run_remove, answer_remove);
}

/* ---- gc ---- */

static void on_collect_over(struct http_req *req)
{
	struct http_req **at = req->user;

	if (at)
		*at = NULL;
}

static void on_collected(void *data, const struct shelf_gc *gc,
			 const struct err *err)
{
	struct http_req **at = data, *req = *at;
	char freed[32];

	free(at);
	if (!req)
		return;
	req->user = NULL;
	if (err) {
		admin_error(req, err);
		return;
	}
	http_replyf(req, 200, "application/json",
		    "{\"message\":\"freed %s\",\"freed\":%llu,\"left\":%llu,"
		    "\"models\":%u,\"trees\":%u}",
		    str_human_bytes(gc->freed, freed),
		    (unsigned long long)gc->freed, (unsigned long long)gc->left,
		    gc->refs, gc->trees);
}

void admin_models_gc(struct http_req *req, const char *arg)
{
	struct http_req **at = mem_alloc(sizeof *at);
	struct err err = {0};

	(void)arg;
	*at = req;
	if (models_collect_now(&admin_of(req)->serve->models, on_collected, at,
			       &err)) {
		free(at);
		admin_error(req, &err);
		return;
	}
	req->user = at;
	req->on_over = on_collect_over;
}
