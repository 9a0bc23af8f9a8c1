/* Requests: JSON to tensors on the leader's thread, run on a slot's, alone or
 * with others, JSON made there too, answered on the leader's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/inflate.h"
#include "core/json.h"
#include "core/mem.h"
#include "host/host.h"
#include "host/tensors.h"
#include "loop/log.h"
#include "loop/touched.h"

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

static bool fit(const struct work *oldest, const struct work *other)
{
	return batch_fit(&CONTAINER_OF(oldest, struct job, work)->in,
			 &CONTAINER_OF(other, struct job, work)->in);
}

void jobs_init(struct host *h)
{
	const struct config *c = &h->config;

	list_init(&h->free_jobs);
	if (c->max_batch_size < 2)
		return;
	h->slots.batch_max = c->max_batch_size;
	h->slots.batch_interval_ns = c->batch_interval_ms * 1000000;
	h->slots.batch_target_ns = c->latency_target_ms * 1000000;
	h->slots.on_learned = jobs_tell_batching;
	h->slots.fit = fit;
	h->batches = mem_alloc(c->slots * sizeof *h->batches);
	for (uint32_t i = 0; i < c->slots; i++)
		batch_init(&h->batches[i], c->max_batch_size);
}

void jobs_tell_batching(void *data)
{
	struct host *h = data;
	struct buf text;

	buf_init(&text, FRAME_PAYLOAD_MAX);
	slots_write_curve(&h->slots, &text);
	if (text.len)
		control_send(h, FRAME_BATCHING, 0, text.data, text.len);
	buf_fini(&text);
}

void jobs_fini(struct host *h)
{
	struct list *it, *tmp;

	for (uint32_t i = 0; h->batches && i < h->config.slots; i++)
		batch_fini(&h->batches[i]);
	free(mem_take(&h->batches));

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

/* While its body is being read. */
static void on_unread(struct http_req *req)
{
	struct host *h = req->user;

	slots_coming(&h->slots, -1);
}

static void on_body(struct http_req *req, const char *body, size_t len)
{
	struct host *h = req->user;
	struct err err = {0};
	struct job *j;

	if (h->batches)
		slots_coming(&h->slots, -1);
	req->user = NULL;
	req->on_over = NULL;
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
	j->work.alone = !h->batches || !batch_rows(&j->in);
	j->work.timed = http_req_header(req, "soma-timing").n;
	/* A warm-up request; no client can send it through Soma. */
	j->work.uncounted = http_req_header(req, "X-Soma-Warmup").n;
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
	if (h->batches) {
		slots_coming(&h->slots, 1);
		req->on_over = on_unread;
	}
	http_req_body(req, (size_t)most_of(h), on_body);
}

/* ---- run, by a slot ---- */

static void clear(struct job *j)
{
	j->code = 0;
	j->err.code = 0;
	j->why.text[0] = 0;
	buf_reset(&j->text);
	j->text.full = false;
}

static void run_alone(struct job *j)
{
	const struct plugin *p = &j->host->plugin;
	struct soma_request in = {
		.size = sizeof in,
		.inputs = j->in.items,
		.n_inputs = j->in.n,
		.id = j->id,
	};
	struct soma_response out = {.size = sizeof out};

	clear(j);
	j->code = p->engine.run(p->model, j->work.slot, &in, &out, &j->why);
	if (j->code)
		return;
	tensors_write(&j->text, &out, &j->err);
	if (p->engine.release)
		p->engine.release(p->model, j->work.slot, &out);
}

/* By the slot that finds it. */
static void give_up_batches(struct host *h, const struct err *why)
{
	slots_no_batches(&h->slots);
	if (atomic_exchange(&h->finds_no_batches, true))
		return; /* another has */
	snprintf(h->no_batches, sizeof h->no_batches,
		 "predictor.%s: %s; requests are run one by one from now on",
		 config_batch_key(&h->config), why->msg);
	log_warn(NULL, "%s", h->no_batches);
	atomic_store(&h->has_no_batches, true);
}

/* Each its rows; false if the response has not as many as were asked for. */
static bool hand_out(struct batch *b, struct work *first,
		     const struct soma_response *out)
{
	struct host *h = CONTAINER_OF(first, struct job, work)->host;
	struct err why = {0};
	int64_t at = 0;

	if (batch_check(b, out, &why)) {
		give_up_batches(h, &why);
		return false;
	}
	for (struct work *w = first; w; w = w->behind) {
		struct job *j = CONTAINER_OF(w, struct job, work);
		int64_t rows = batch_rows(&j->in);
		struct soma_response part = batch_cut(b, out, at, rows);

		at += rows;
		clear(j);
		tensors_write(&j->text, &part, &j->err);
	}
	return true;
}

static bool run_together(struct batch *b, struct work *first)
{
	struct job *oldest = CONTAINER_OF(first, struct job, work);
	const struct plugin *p = &oldest->host->plugin;
	struct soma_request in = {.size = sizeof in, .id = oldest->id};
	struct soma_response out = {.size = sizeof out};
	struct err no_memory;
	bool done;

	for (struct work *w = first; w; w = w->behind)
		batch_add(b, &CONTAINER_OF(w, struct job, work)->in);
	if (batch_join(b, &no_memory))
		return false;
	in.inputs = b->in;
	in.n_inputs = b->n_in;
	oldest->why.text[0] = 0;
	if (p->engine.run(p->model, first->slot, &in, &out, &oldest->why))
		return false;
	done = hand_out(b, first, &out);
	if (p->engine.release)
		p->engine.release(p->model, first->slot, &out);
	return done;
}

/* What fails together is run again one by one, so that each gets what is its
 * own: an answer, or its failure. */
static void on_run(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	struct batch *b;

	if (!w->behind) {
		run_alone(j);
		return;
	}
	b = &j->host->batches[w->slot];
	if (!run_together(b, w))
		for (; w; w = w->behind)
			w->again = true;
	batch_reset(b);
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

/* For a daemon that has asked how long it was where. */
static void add_timing(struct http_req *req, const struct job *j)
{
	const struct work *w = &j->work;
	char text[80];

	snprintf(text, sizeof text, "%s=%llu predict=%llu",
		 j->host->batches ? "batch" : "ready",
		 (unsigned long long)(w->began_ns - w->queued_ns) / 1000,
		 (unsigned long long)w->ran_ns / 1000);
	http_reply_header(req, "soma-timing", text);
}

static void on_done(struct work *w)
{
	struct job *j = CONTAINER_OF(w, struct job, work);
	struct host *h = j->host;
	struct http_req *req = part(j);

	if (h->batches && !h->told_no_batches &&
	    atomic_load(&h->has_no_batches))
		about_no_batches(h);
	if (req) {
		if (w->timed)
			add_timing(req, j);
		if (j->code)
			reply_failure(req, j);
		else if (j->err.code)
			http_reply_error(req, j->err.code, "%s", j->err.msg);
		else
			http_reply(req, 200, "application/json", j->text.data,
				   j->text.len);
	}
	job_put(j);
	touched_note();
}

static void stop(struct work *first)
{
	const struct plugin *p =
		&CONTAINER_OF(first, struct job, work)->host->plugin;

	if (p->engine.cancel)
		p->engine.cancel(p->model, first->slot);
}

/* The client is gone. */
static void on_over(struct http_req *req)
{
	struct job *j = req->user;

	j->req = NULL;
	if (slots_give_up(&j->host->slots, &j->work, stop))
		job_put(j);
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
	slots_give_up(&h->slots, w, stop);
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
