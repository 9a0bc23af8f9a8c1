/*
 * A copy is a request like any other, over a pair of sockets of our own, so
 * that the shadow's gate and replicas treat it as they treat all. It is made
 * when the request of the client is over: that one waits for nothing, and what
 * is compared is here already.
 *
 *   client ── request ──────▶ the target's gate ──▶ answer ──▶ client
 *                  ╰ noted                             ╰ noted
 *                     ╰────────── MAIN ──────────────────┴─▶ over
 *                                                             │ a copy
 *    compared (COMPARING) ◀── answer ◀── the shadow's ◀─ SENT ╯
 *
 * Nobody waits for it, and it is given up when its time is over. What there is
 * no room for is not copied, and counted.
 */
#include "serve/shadow.h"

#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/mem.h"
#include "serve/shadow_parts.h"
#include "serve/wish.h"

enum {
	COPIES_MAX = 64,      /* at once, of all splitters */
	BYTES_MAX = 32 << 20, /* that all of them hold when one begins */
	BODY_MAX = 1 << 20,
	ANSWER_MAX = 1 << 20, /* with its head */
	HEAD_ROOM = 128 * 1024,
	/* A copy's time: so long, and twice what the client's took. */
	TIME_MS = 10 * 1000,
	TIMES_MAIN = 2,
};

static struct splitter_counts *counts_of(const struct copy *c)
{
	const struct api *a = map_get(&c->serve->apis, c->splitter);
	struct splitter_target *t = a ? splitter_target(a, c->target) : NULL;

	return t ? &t->n : NULL;
}

void shadow__free(struct copy *c)
{
	list_remove(&c->link);
	buf_fini(&c->body);
	buf_fini(&c->request);
	buf_fini(&c->answer);
	buf_fini(&c->main);
	free(c->splitter);
	free(c->target);
	free(c);
}

/* ---- while the client's request runs ---- */

static bool has_room(const struct serve *s)
{
	const struct list *it;
	size_t n = 0, bytes = 0;

	for (it = s->copies.next; it != &s->copies; it = it->next) {
		const struct copy *c = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct copy, link);

		n++;
		bytes += c->body.len + c->request.len + c->answer.len +
			 c->main.len;
	}
	return n < COPIES_MAX && bytes < BYTES_MAX;
}

/* One with a key may be answered by the run of another. */
static bool fits(const struct serve *s, const struct http_req *req)
{
	return !req->upgrade && !req->inner &&
	       !http_req_header(req, WISH_KEY).n &&
	       !http_req_header(req, WISH_AWS_KEY).n &&
	       req->content_length <= BODY_MAX && has_room(s);
}

static void begin(struct api *splitter, struct http_req *req)
{
	struct serve *s = splitter->serve;
	struct splitter_target *t = splitter->splitter->shadow;
	struct copy *c;

	if (!fits(s, req)) {
		t->n.dropped++;
		return;
	}
	c = mem_alloc(sizeof *c);
	c->serve = s;
	c->splitter = mem_strdup(splitter->name);
	c->target = mem_strdup(t->name);
	c->to_head = str_eq(req->method_name, STR("HEAD"));
	c->tolerance = splitter->splitter->tolerance;
	buf_init(&c->body, BODY_MAX);
	buf_init(&c->request, BODY_MAX + HEAD_ROOM);
	buf_init(&c->answer, ANSWER_MAX);
	buf_init(&c->main, ANSWER_MAX);
	list_push_back(&s->copies, &c->link);
	req->copy = c;
	http_req_tap(req, &c->body, &c->main);
}

void shadow_accept(struct api *splitter, struct api *to, struct http_req *req)
{
	struct splitter *sp = splitter->splitter;

	if (sp->shadow && split_copies(&sp->copy_credit, sp->shadow->weight))
		begin(splitter, req);
	gate_accept(to, req, (struct str){0});
}

/* ---- the copy ---- */

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

static void write_request(struct copy *c, const struct http_req *req,
			  const char *endpoint)
{
	struct buf *b = &c->request;

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
		buf_addf(b, "Content-Length: %zu\r\n", c->body.len);
	buf_adds(b, "\r\n");
	buf_add(b, c->body.data, c->body.len);
	buf_fini(&c->body);
}

static void on_closed(uv_handle_t *h)
{
	struct copy *c = h->data;

	if (--c->handles)
		return;
	if (counts_of(c))
		shadow__compare(c);
	else
		shadow__free(c);
}

static void finish(struct copy *c)
{
	if (uv_is_closing((uv_handle_t *)&c->pipe))
		return;
	uv_close((uv_handle_t *)&c->pipe, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_time(uv_timer_t *timer)
{
	finish(timer->data);
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

	/* The rest of what is too long is read and dropped. */
	if (n >= 0) {
		buf_add(&c->answer, buf->base, (size_t)n);
		return;
	}
	c->ended = n == UV_EOF;
	finish(c);
}

static void on_written(uv_write_t *write, int status)
{
	struct copy *c = CONTAINER_OF(write, struct copy, write);

	if (status < 0)
		finish(c);
}

/* Both ends, or false with nothing open. */
static bool connect_pair(struct copy *c, struct http_server *server)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       fds) < 0)
		return false;
	if (http_server_adopt(server, fds[1])) {
		close(fds[0]);
		return false;
	}
	c->handles = 2;
	c->pipe.data = c->timer.data = c;
	uv_pipe_init(c->serve->loop, &c->pipe, 0);
	uv_timer_init(c->serve->loop, &c->timer);
	if (uv_pipe_open(&c->pipe, fds[0]) < 0) {
		close(fds[0]);
		finish(c);
	}
	return true;
}

static void start(struct copy *c, uint64_t time_ms)
{
	uv_buf_t iov = uv_buf_init(c->request.data, (unsigned)c->request.len);

	if (uv_is_closing((uv_handle_t *)&c->pipe))
		return;
	if (uv_write(&c->write, (uv_stream_t *)&c->pipe, &iov, 1, on_written) <
		    0 ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0 ||
	    uv_timer_start(&c->timer, on_time, time_ms, 0) < 0)
		finish(c);
}

/* Its body is here, and there is somebody to send it to. */
static bool may_send(const struct copy *c, const struct http_req *req)
{
	return !c->serve->yielded && !c->serve->stopping &&
	       http_req_is_whole(req) && !c->body.full;
}

static void send_copy(struct copy *c, const struct http_req *req,
		      struct splitter_counts *n)
{
	const struct api *to = map_get(&c->serve->apis, c->target);
	uint64_t took_ms = (req->end_ns - req->start_ns) / 1000000;

	if (!to || !to->endpoint || to->splitter || to->deleting) {
		n->missing++;
		shadow__free(c);
		return;
	}
	write_request(c, req, to->endpoint);
	if (c->request.full || !connect_pair(c, req->server)) {
		n->dropped++;
		shadow__free(c);
		return;
	}
	n->copies++;
	start(c, TIME_MS + TIMES_MAIN * took_ms);
}

void shadow_on_main_over(struct http_req *req)
{
	struct copy *c = req->copy;
	struct splitter_counts *n;

	if (!c)
		return;
	req->copy = NULL;
	http_req_tap(req, NULL, NULL);
	c->main_gone = req->gone;
	n = counts_of(c);
	if (n && may_send(c, req)) {
		send_copy(c, req, n);
		return;
	}
	if (n)
		n->dropped++;
	shadow__free(c);
}
