/* models_verify.c: are models what was fetched? That takes as long as reading
 * them, so that who asks may be told how far it is. */
#include <string.h>

#include "api/models_parts.h"
#include "core/mem.h"
#include "core/str.h"

enum { BODY_MAX = 64 * 1024 };

/* ---- reading, on the pool ---- */

struct reading {
	struct models_job *job;
	uint64_t before; /* bytes of the models that were read before this */
};

/* False: nobody waits for it any more, or all wait for its end. */
static bool on_read(void *data, uint64_t done, uint64_t total)
{
	const struct reading *r = data;

	(void)total;
	atomic_store(&r->job->done, r->before + done);
	return !atomic_load(&r->job->gone) &&
	       !atomic_load(&r->job->admin->serve->models.stopping);
}

static void run_verify(struct models_job *j)
{
	struct shelf *shelf = &j->admin->serve->models.shelf;
	struct reading r = {.job = j};
	uint64_t total = 0;

	models__read(j);
	if (j->err.code)
		return;
	for (size_t i = 0; i < j->n; i++)
		total += j->rows[i].ref.bytes;
	atomic_store(&j->total, total);
	j->bad = mem_alloc((j->n + 1) * sizeof *j->bad);
	for (size_t i = 0; i < j->n && !j->err.code; i++) {
		cleanup_free char *name = shelf_ref_name(&j->rows[i].ref);

		shelf_verify(shelf, name, on_read, &r, &j->bad[i], &j->err);
		r.before += j->rows[i].ref.bytes;
	}
}

/* ---- telling ---- */

static void on_drain(struct http_req *req)
{
	(void)req;
}

static void begin(struct models_job *j)
{
	if (!j->told)
		http_reply_start(j->req, 200, "application/x-ndjson", on_drain);
	j->told = true;
}

static void tell(struct models_job *j)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	uint64_t done = atomic_load(&j->done);
	uint64_t ms = uv_now(j->admin->serve->loop) - j->began;

	/* Before that, it is not known whether there is anything to read. */
	if (!atomic_load(&j->total))
		return;
	begin(j);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "state", "verifying");
	yyjson_mut_obj_add_uint(doc, root, "done", done);
	yyjson_mut_obj_add_uint(doc, root, "total", atomic_load(&j->total));
	yyjson_mut_obj_add_uint(doc, root, "rate", ms ? done * 1000 / ms : 0);
	models__say(j->req, doc);
}

/* ---- the answer ---- */

static void put_models(const struct models_job *j, yyjson_mut_doc *doc,
		       yyjson_mut_val *root)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "models");
	bool whole = true;

	for (size_t i = 0; i < j->n; i++) {
		yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);

		yyjson_mut_obj_add_strcpy(doc, o, "url", j->rows[i].ref.url);
		yyjson_mut_obj_add_uint(doc, o, "bytes", j->rows[i].ref.bytes);
		whole = whole && !j->bad[i];
		if (j->bad[i])
			yyjson_mut_obj_add_strcpy(doc, o, "bad", j->bad[i]);
		else
			yyjson_mut_obj_add_null(doc, o, "bad");
	}
	yyjson_mut_obj_add_bool(doc, root, "whole", whole);
}

/* The last of the lines. */
static void end(struct models_job *j, yyjson_mut_doc *doc)
{
	yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);

	begin(j);
	if (j->err.code) {
		yyjson_mut_obj_add_str(doc, root, "state", "failed");
		yyjson_mut_obj_add_strcpy(doc, root, "message", j->err.msg);
	} else {
		yyjson_mut_obj_add_str(doc, root, "state", "verified");
		put_models(j, doc, root);
	}
	models__say(j->req, doc);
	http_reply_end(j->req);
}

static void answer_verify(struct models_job *j)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	cleanup_free char *text = NULL;
	size_t len;

	if (!j->req)
		return;
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	if (j->tell) {
		end(j, doc);
		return;
	}
	put_models(j, doc, yyjson_mut_doc_get_root(doc));
	text = json_write(doc, &len);
	http_reply(j->req, 200, "application/json", text, len);
}

static void on_verify_body(struct http_req *req, const char *body, size_t len)
{
	const char *progress = http_req_param(req, "progress");
	struct models *models = &admin_of(req)->serve->models;
	bool ok;
	const char *url = models__url(req, body, len, false, &ok);
	struct models_job *j;

	if (!ok)
		return;
	/* It takes a thread of the pool, and a disk, for long. */
	if (models->verifying) {
		http_reply_error(req, E_BUSY,
				 "models are being verified now; try again "
				 "when that is over");
		return;
	}
	j = models__start(req, url, run_verify, answer_verify);
	j->lock = &models->verifying;
	models->verifying = true;
	if (progress && strcmp(progress, "true") == 0)
		models__tell(j, tell);
}

void admin_models_verify(struct http_req *req, const char *arg)
{
	(void)arg;
	http_req_body(req, BODY_MAX, on_verify_body);
}
