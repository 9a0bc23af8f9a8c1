/*
 * A copy is a request like any other, over a pair of sockets of our own, so
 * that the shadow's gate and replicas treat it as they treat all:
 *
 *   client ── request ─┬─ its body is here ──▶ the target's gate ──▶ answer ─╮
 *                      ╰─ a copy ──▶ socket ──▶ the shadow's endpoint ──▶ ───┴▶
 * compared
 *
 * Nobody waits for it. What there is no room for is not copied, and counted.
 */
#include "serve/shadow.h"

#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/mem.h"
#include "http/message.h"
#include "serve/differ.h"
#include "serve/serve.h"

enum {
	COPIES_MAX = 64, /* at once, of all splitters */
	BODY_MAX = 1 << 20,
	ANSWER_MAX = 1 << 20, /* with its head; what is longer is not compared
			       */
	HEAD_ROOM = 128 * 1024,
};

static unsigned copies; /* that are there now */

struct copy {
	uv_pipe_t pipe;
	uv_write_t write;
	struct serve *serve;	 /* borrowed */
	char *splitter, *target; /* owned: names */
	struct buf request;
	struct buf answer, main; /* raw; full: too long */
	bool answered, main_over, main_gone;
};

/* The request that it is a copy of is over, and it is itself. */
struct answer {
	struct message in; /* first */
	struct arena mem;
	struct buf body;
	unsigned status;
	bool whole, coded;
};

static bool on_piece(struct message *m, const char *p, size_t n)
{
	struct answer *a = CONTAINER_OF(m, struct answer, in);

	buf_add(&a->body, p, n);
	return true;
}

static bool is_coded(const struct head *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		if (str_ieq(h->headers[i].name, STR("content-encoding")))
			return true;
	return false;
}

/* An answer as it went over the wire. */
static void parse(struct answer *a, const struct buf *raw)
{
	const struct head_max max = {16 * 1024, 64 * 1024, 128};
	size_t at = 0, used = 0;

	*a = (struct answer){0};
	arena_init(&a->mem);
	buf_init(&a->body, ANSWER_MAX);
	do {
		if (at)
			message_fini(&a->in);
		message_init(&a->in, MESSAGE_RESPONSE);
		a->in.on_body = on_piece;
		if (message_head(&a->in, &a->mem, &max, raw->data + at,
				 raw->len - at, &used) != MESSAGE_HEAD)
			return;
		at += used;
	} while (a->in.head.status < 200);
	a->status = a->in.head.status;
	a->coded = is_coded(&a->in.head);
	if (!a->in.complete)
		message_body(&a->in, raw->data + at, raw->len - at);
	a->whole = (a->in.complete || message_eof(&a->in)) && !a->body.full &&
		   !raw->full;
}

static void answer_fini(struct answer *a)
{
	message_fini(&a->in);
	arena_fini(&a->mem);
	buf_fini(&a->body);
}

static struct str body_of(const struct answer *a)
{
	return (struct str){a->body.data, a->body.len};
}

static void compare(const struct copy *c, const struct splitter *sp,
		    struct splitter_counts *n)
{
	struct answer ours, its;

	parse(&ours, &c->main);
	parse(&its, &c->answer);
	if (!its.status || (its.status >= 500 && ours.status < 500)) {
		n->failed++;
	} else if (!c->main_gone && ours.whole && its.whole && !ours.coded &&
		   !its.coded) {
		n->compared++;
		n->differ += ours.status != its.status ||
			     answers_differ(body_of(&ours), body_of(&its),
					    sp->tolerance, &n->largest);
	}
	answer_fini(&ours);
	answer_fini(&its);
}

static void maybe_over(struct copy *c)
{
	const struct api *a;
	struct splitter_target *t;

	if (!c->answered || !c->main_over)
		return;
	a = map_get(&c->serve->apis, c->splitter);
	t = a ? splitter_target(a, c->target) : NULL;
	if (t)
		compare(c, a->splitter, &t->n);
	buf_fini(&c->request);
	buf_fini(&c->answer);
	buf_fini(&c->main);
	free(c->splitter);
	free(c->target);
	free(c);
	copies--;
}

static void on_closed(uv_handle_t *h)
{
	struct copy *c = h->data;

	c->answered = true;
	maybe_over(c);
}

static void finish(struct copy *c)
{
	if (!uv_is_closing((uv_handle_t *)&c->pipe))
		uv_close((uv_handle_t *)&c->pipe, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
	static char room[64 * 1024];

	(void)h;
	(void)hint;
	*ret = uv_buf_init(room, sizeof room);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct copy *c = stream->data;

	if (n < 0)
		finish(c);
	else
		buf_add(&c->answer, buf->base, (size_t)n);
}

static void on_written(uv_write_t *write, int status)
{
	struct copy *c = CONTAINER_OF(write, struct copy, write);

	if (status < 0)
		finish(c);
}

/* Of this connection, written anew, or what asks for more than one run. */
static bool is_left_out(struct str name)
{
	static const char *const names[] = {
		"connection",	   "keep-alive",       "transfer-encoding",
		"content-length",  "expect",	       "upgrade",
		"accept-encoding", "idempotency-key",  "te",
		"trailer",	   "proxy-connection", "x-request-id",
		SHADOW_HEADER,	   "x-idempotency-key"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_ieq(name, str_of(names[i])))
			return true;
	return false;
}

static void write_request(struct buf *b, const struct http_req *req,
			  const char *endpoint, const char *body, size_t len)
{
	buf_add(b, req->method_name.p, req->method_name.n);
	buf_addf(b, " %s%s%.*s HTTP/1.1\r\n", endpoint, req->query.n ? "?" : "",
		 (int)req->query.n, req->query.p ? req->query.p : "");
	for (uint32_t i = 0; i < req->n_headers; i++) {
		const struct http_header *h = &req->headers[i];

		if (is_left_out(h->name))
			continue;
		buf_add(b, h->name.p, h->name.n);
		buf_adds(b, ": ");
		buf_add(b, h->value.p, h->value.n);
		buf_adds(b, "\r\n");
	}
	buf_addf(b,
		 SHADOW_HEADER ": 1\r\nX-Request-Id: %.*s\r\n"
			       "Connection: close\r\n",
		 (int)req->id.n, req->id.p);
	if (req->has_body)
		buf_addf(b, "Content-Length: %zu\r\n", len);
	buf_adds(b, "\r\n");
	buf_add(b, body, len);
}

/* Both ends, or -1. */
static int connect_pair(struct copy *c, struct http_server *server)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       fds) < 0)
		return -1;
	if (http_server_adopt(server, fds[1])) {
		close(fds[0]);
		return -1;
	}
	uv_pipe_init(c->serve->loop, &c->pipe, 0);
	c->pipe.data = c;
	if (uv_pipe_open(&c->pipe, fds[0]) < 0) {
		close(fds[0]);
		finish(c);
	}
	return 0;
}

static void send_copy(struct api *splitter, struct splitter_target *t,
		      struct http_req *req, const char *body, size_t len)
{
	const struct api *to = map_get(&splitter->serve->apis, t->name);
	struct copy *c;
	uv_buf_t iov;

	if (!to || !to->endpoint || to->splitter || to->deleting) {
		t->n.missing++;
		return;
	}
	c = mem_alloc(sizeof *c);
	c->serve = splitter->serve;
	buf_init(&c->request, BODY_MAX + HEAD_ROOM);
	write_request(&c->request, req, to->endpoint, body, len);
	if (c->request.full || connect_pair(c, req->server)) {
		t->n.dropped++;
		buf_fini(&c->request);
		free(c);
		return;
	}
	c->splitter = mem_strdup(splitter->name);
	c->target = mem_strdup(t->name);
	buf_init(&c->answer, ANSWER_MAX);
	buf_init(&c->main, ANSWER_MAX);
	copies++;
	t->n.copies++;
	req->copy = c;
	http_req_tap(req, &c->main);
	iov = uv_buf_init(c->request.data, (unsigned)c->request.len);
	if (uv_write(&c->write, (uv_stream_t *)&c->pipe, &iov, 1, on_written) <
		    0 ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0)
		finish(c);
}

void shadow_on_main_over(struct http_req *req)
{
	struct copy *c = req->copy;

	if (!c)
		return;
	req->copy = NULL;
	http_req_tap(req, NULL);
	c->main_over = true;
	c->main_gone = req->gone;
	maybe_over(c);
}

/* Until the body is here. Names, for apis may go meanwhile. */
struct waiting {
	struct serve *serve;
	const char *splitter, *to;
};

static void on_body(struct http_req *req, const char *body, size_t len)
{
	struct waiting *w = req->user;
	struct api *splitter = map_get(&w->serve->apis, w->splitter);
	struct api *to = map_get(&w->serve->apis, w->to);
	struct splitter *sp = splitter ? splitter->splitter : NULL;

	req->user = NULL;
	if (!to) {
		http_reply_error(req, E_UNAVAILABLE,
				 "the api '%s' was deleted meanwhile", w->to);
		return;
	}
	if (sp && sp->shadow)
		send_copy(splitter, sp->shadow, req, body, len);
	gate_accept(to, req, (struct str){0});
}

static bool fits(const struct http_req *req)
{
	return copies < COPIES_MAX && !req->upgrade &&
	       !http_req_header(req, "Idempotency-Key").n &&
	       (!req->has_body ||
		(req->content_length >= 0 && req->content_length <= BODY_MAX));
}

void shadow_accept(struct api *splitter, struct api *to, struct http_req *req)
{
	struct splitter *sp = splitter->splitter;
	bool wanted = sp->shadow &&
		      split_copies(&sp->copy_credit, sp->shadow->weight);
	struct waiting *w;

	if (wanted && !fits(req))
		sp->shadow->n.dropped++;
	if (!wanted || !fits(req)) {
		gate_accept(to, req, (struct str){0});
		return;
	}
	w = arena_alloc(req->arena, sizeof *w);
	*w = (struct waiting){.serve = splitter->serve,
			      .splitter =
				      arena_strdup(req->arena, splitter->name),
			      .to = arena_strdup(req->arena, to->name)};
	req->user = w;
	http_req_body(req, BODY_MAX, on_body);
}
