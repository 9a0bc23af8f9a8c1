/* Requests: JSON to tensors on the leader's thread, run on a slot's, JSON made
 * there too, answered on the leader's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inflate.h"
#include "core/json.h"
#include "core/mem.h"
#include "host/host.h"
#include "host/tensors.h"

enum {
	FREE_JOBS = 64,
	KEEP_TEXT = 1 << 20,
	ID_MAX = 128,
};

#define NOT_BEGUN                                                              \
	"the process is being replaced; this request has not begun in it"

struct job {
	struct work work;
	struct host *host;
	struct http_req *req; /* NULL: nobody waits for the answer any more */
	struct tensors in;
	struct buf text; /* the answer */
	int code;	 /* of the engine; with words in why */
	struct err err;	 /* ours */
	struct soma_error why;
	char id[ID_MAX + 1];
};

static void on_run(struct work *w);
static void on_done(struct work *w);
static void on_late(struct work *w, uint64_t ran_ms);
static void on_stuck(struct work *w, uint64_t ran_ms);
static void on_over(struct http_req *req);

static struct job *job_get(struct host *h)
{
	struct job *j;

	if (!list_empty(&h->free_jobs)) {
		j = LIST_ENTRY(h->free_jobs.next, struct job, work.link);
		list_remove(&j->work.link);
		h->n_free_jobs--;
		return j;
	}
	j = mem_alloc(sizeof *j);
	list_init(&j->work.link);
	j->work.run = on_run;
	j->work.on_done = on_done;
	j->work.on_late = on_late;
	j->work.on_stuck = on_stuck;
	j->host = h;
	tensors_init(&j->in);
	buf_init(&j->text, SIZE_MAX / 4);
	return j;
}

static void job_free(struct job *j)
{
	tensors_fini(&j->in);
	buf_fini(&j->text);
	free(j);
}

static void job_put(struct job *j)
{
	struct host *h = j->host;

	if (h->n_free_jobs == FREE_JOBS) {
		job_free(j);
		return;
	}
	tensors_reset(&j->in);
	if (j->text.cap > KEEP_TEXT)
		buf_fini(&j->text);
	h->n_free_jobs++;
	list_push_front(&h->free_jobs, &j->work.link);
}

void jobs_fini(struct host *h)
{
	struct list *it, *tmp;

	LIST_EACH (&h->free_jobs, it, tmp)
		job_free(LIST_ENTRY(it, struct job, work.link));
	list_init(&h->free_jobs);
}

/* From now on the request is not the job's. */
static struct http_req *part(struct job *j)
{
	struct http_req *req = mem_take(&j->req);

	if (req) {
		req->user = NULL;
		req->on_over = NULL;
	}
	return req;
}

static void refuse_not_begun(struct http_req *req)
{
	http_reply_header(req, "soma-not-begun", "1");
	http_reply_error(req, E_UNAVAILABLE, "%s", NOT_BEGUN);
}

/* ---- in ---- */

static uint64_t most_of(const struct host *h)
{
	return h->config.max_body ? h->config.max_body : SIZE_MAX / 4;
}

static void refuse(struct http_req *req, const struct err *why)
{
	if (why->code == E_ENCODING)
		http_reply_header(req, "Accept-Encoding", "gzip, deflate");
	http_reply_error(req, why->code, "%s", why->msg);
}

/* To tensors, unpacked before where it came packed. */
static int read_body(struct job *j, const struct http_req *req, struct str body,
		     struct err *err)
{
	struct str value = http_req_header(req, "Content-Encoding");
	const struct soma_ports *ports = j->host->plugin.ports;
	enum inflate_coding coding;
	struct buf out;
	int rc;

	if (!value.n)
		return tensors_read(&j->in, ports, body.p, body.n, err);
	rc = inflate_coding(value, &coding, err);
	if (rc)
		return rc;
	if (coding == INFLATE_NONE || !body.n)
		return tensors_read(&j->in, ports, body.p, body.n, err);
	rc = inflate_body(coding, body, most_of(j->host), &out, err);
	if (rc)
		return rc;
	rc = tensors_read(&j->in, ports, buf_cstr(&out), out.len, err);
	buf_fini(&out);
	return rc;
}

static void on_body(struct http_req *req, const char *body, size_t len)
{
	struct host *h = req->user;
	struct err err = {0};
	struct job *j;

	req->user = NULL;
	/* It may have come while the last slot got stuck. */
	if (slots_are_stuck(&h->slots)) {
		refuse_not_begun(req);
		return;
	}
	j = job_get(h);
	if (read_body(j, req, (struct str){body, len}, &err)) {
		refuse(req, &err);
		job_put(j);
		return;
	}
	j->req = req;
	memcpy(j->id, req->id.p, MIN(req->id.n, (size_t)ID_MAX));
	j->id[MIN(req->id.n, (size_t)ID_MAX)] = 0;
	req->user = j;
	req->on_over = on_over;
	slots_add(&h->slots, &j->work);
}

void jobs_on_request(struct http_req *req, void *data)
{
	struct host *h = data;
	struct str method = req->method_name;

	if (str_eq(method, STR("GET")) || str_eq(method, STR("HEAD"))) {
		http_reply(req, 200, "application/json", h->about.data,
			   h->about.len);
		return;
	}
	if (!str_eq(method, STR("POST"))) {
		http_reply_header(req, "Allow", "GET, HEAD, POST");
		http_reply_error(req, E_METHOD,
				 "%.*s is not answered here: POST inputs, or "
				 "GET what they are",
				 (int)method.n, method.p);
		return;
	}
	if (slots_are_stuck(&h->slots)) {
		refuse_not_begun(req);
		return;
	}
	req->user = h;
	http_req_body(req, (size_t)most_of(h), on_body);
}

/* ---- run, by a slot ---- */

static void on_run(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	const struct plugin *p = &j->host->plugin;
	struct soma_request in = {
		.size = sizeof in,
		.inputs = j->in.items,
		.n_inputs = j->in.n,
		.id = j->id,
	};
	struct soma_response out = {.size = sizeof out};

	j->err.code = 0;
	j->why.text[0] = 0;
	buf_reset(&j->text);
	j->text.full = false;
	j->code = p->engine.run(p->model, w->slot, &in, &out, &j->why);
	if (j->code)
		return;
	tensors_write(&j->text, &out, &j->err);
	if (p->engine.release)
		p->engine.release(p->model, w->slot, &out);
}

/* ---- out, by the leader ---- */

/* {"error":{code,message,request_id}}, as the Python worker says it. */
static void reply_predict_error(struct http_req *req, const char *text)
{
	struct buf b;

	buf_init(&b, 8192);
	buf_adds(&b, "{\"error\":{\"code\":\"predict_error\",\"message\":");
	json_quote(&b, str_of(text));
	buf_adds(&b, ",\"request_id\":");
	json_quote(&b, req->id);
	buf_adds(&b, "}}\n");
	http_reply(req, 500, "application/json", b.data, b.len);
	buf_fini(&b);
}

static void reply_failure(struct http_req *req, struct job *j)
{
	char *text = j->why.text;

	text[sizeof j->why.text - 1] = 0;
	if (!*text)
		snprintf(text, sizeof j->why.text,
			 "the engine failed (code %d) and does not say why",
			 j->code);
	if (j->code == SOMA_BAD_INPUT)
		http_reply_error(req, E_INVALID, "%s", text);
	else if (j->code == SOMA_NO_MEMORY)
		http_reply_error(req, E_NOMEM, "%s", text);
	else
		reply_predict_error(req, text);
}

static void on_done(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	struct http_req *req = part(j);

	if (req) {
		if (j->code)
			reply_failure(req, j);
		else if (j->err.code)
			http_reply_error(req, j->err.code, "%s", j->err.msg);
		else
			http_reply(req, 200, "application/json", j->text.data,
				   j->text.len);
	}
	job_put(j);
}

static void cancel(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	const struct plugin *p = &j->host->plugin;

	p->engine.cancel(p->model, w->slot);
}

static void try_cancel(struct job *j)
{
	if (j->host->plugin.engine.cancel)
		slots_if_running(&j->host->slots, &j->work, cancel);
}

/* The client is gone. */
static void on_over(struct http_req *req)
{
	struct job *j = req->user;

	j->req = NULL;
	if (slots_take_back(&j->host->slots, &j->work))
		job_put(j);
	else
		try_cancel(j);
}

static void on_late(struct work *w, uint64_t ran_ms)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	struct host *h = j->host;
	struct http_req *req = part(j);
	char limit[32];

	(void)ran_ms;
	if (req)
		http_reply_error(
			req, E_TIMEOUT,
			"predict ran longer than %s (predict_timeout)",
			str_human_ms((int64_t)h->config.predict_timeout_ms,
				     limit));
	try_cancel(j);
}

static void on_stuck(struct work *w, uint64_t ran_ms)
{
	struct job *j = CONTAINER_OF(w, struct job, work);

	control_stuck(j->host, (uint32_t)MIN(ran_ms, UINT32_MAX), j->id);
}

/* Nobody is left to run what waits. */
void jobs_on_all_stuck(void *data)
{
	struct host *h = data;
	struct work *w;

	while ((w = slots_take_oldest(&h->slots))) {
		struct job *j = CONTAINER_OF(w, struct job, work);
		struct http_req *req = part(j);

		if (req)
			refuse_not_begun(req);
		job_put(j);
	}
}
