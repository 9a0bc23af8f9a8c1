#include <stdio.h>

#include "core/sha256.h"
#include "http/internal.h"

/* One request of our own: a GET to see whether an upstream is up, or a POST
 * whose answer counts. Not through the pool: what is asked is whether it takes
 * new connections. */
struct probe {
	union http_handle h;
	uv_connect_t connect;
	struct list node; /* in up->probes */
	struct http_upstream *up;
	struct message in;
	struct arena mem;
	struct out out;
	char *text; /* owned: the request */
	uint64_t deadline_ms;
	unsigned status;
	bool no_handle, closing;
	struct sha256 hash; /* of the body, if that is read */
	char digest[SHA256_HEX];
	void (*on_done)(void *data, unsigned status);
	void (*on_answer)(void *data, unsigned status,
			  const char *digest); /* or NULL */
	void *data;
};

static void on_connect(uv_connect_t *connect, int status);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_closed(uv_handle_t *h);

static void finish(struct probe *p, unsigned status)
{
	if (p->closing)
		return;
	p->closing = true;
	p->status = status;
	list_remove(&p->node);
	uv_close(&p->h.handle, on_closed);
}

static void on_closed(uv_handle_t *h)
{
	struct probe *p = CONTAINER_OF(h, struct probe, h);
	struct http_upstream *up = p->up;
	struct lane *lane = up->lane;

	if (p->on_answer)
		p->on_answer(p->data, p->status, p->digest);
	else
		p->on_done(p->data, p->status);
	sha256_fini(&p->hash);
	message_fini(&p->in);
	arena_fini(&p->mem);
	free(p->text);
	free(p);
	upstream__handle_closed(up);
	lane__run(lane);
}

static bool on_piece(struct message *m, const char *p, size_t n)
{
	sha256_add(&CONTAINER_OF(m, struct probe, in)->hash, p, n);
	return true;
}

/* All of it was there. */
static void answered(struct probe *p)
{
	sha256_hex(&p->hash, p->digest);
	finish(p, p->in.head.status);
}

static void on_flushed(struct out *o, int status)
{
	if (status < 0)
		finish(CONTAINER_OF(o, struct probe, out), 0);
}

static void ask(struct probe *p)
{
	uv_buf_t iov = uv_buf_init(p->text, (unsigned)strlen(p->text));

	if (uv_read_start(&p->h.stream, lane__alloc, on_read) < 0 ||
	    out__write(&p->out, &iov, 1))
		finish(p, 0);
}

/* Of p what is to be asked and told is set. */
static void begin(struct probe *p, struct http_upstream *up,
		  uint32_t timeout_ms)
{
	struct lane *lane = up->lane;
	bool connecting = false;

	p->up = up;
	p->deadline_ms = uv_now(lane->loop) + timeout_ms;
	arena_init(&p->mem);
	message_init(&p->in, MESSAGE_RESPONSE);
	p->in.on_body = on_piece;
	list_push_back(&up->probes, &p->node);
	up->n_open++;
	lane->n_links++;
	lane__watch(lane);
	if (up->closing || upstream__socket(up, &p->h, &p->connect, on_connect,
					    &connecting) < 0) {
		/* Something to close, so that the answer comes later. */
		uv_tcp_init(lane->loop, &p->h.tcp);
		finish(p, 0);
		return;
	}
	p->h.handle.data = lane;
	out__init(&p->out, &p->h.stream, on_flushed);
	if (!connecting)
		ask(p);
}

void http_probe(struct http_upstream *up, const char *path, uint32_t timeout_ms,
		void (*on_done)(void *data, unsigned status), void *data)
{
	struct probe *p = mem_alloc(sizeof *p);

	p->on_done = on_done;
	p->data = data;
	p->text = mem_printf("GET %s HTTP/1.1\r\nHost: localhost\r\n"
			     "User-Agent: soma-probe\r\n"
			     "Connection: close\r\n\r\n",
			     path);
	begin(p, up, timeout_ms);
}

void http_ask(struct http_upstream *up, const char *path, const char *json,
	      uint32_t timeout_ms,
	      void (*on_done)(void *data, unsigned status, const char *digest),
	      void *data)
{
	struct probe *p = mem_alloc(sizeof *p);

	p->on_answer = on_done;
	p->data = data;
	p->text = mem_printf("POST %s HTTP/1.1\r\nHost: localhost\r\n"
			     "User-Agent: soma-probe\r\n"
			     "Content-Type: application/json\r\n"
			     "Content-Length: %zu\r\n"
			     "Connection: close\r\n\r\n%s",
			     path, strlen(json), json);
	sha256_init(&p->hash);
	begin(p, up, timeout_ms);
}

static void on_connect(uv_connect_t *connect, int status)
{
	struct probe *p = CONTAINER_OF(connect, struct probe, connect);

	if (p->closing)
		return;
	if (status < 0)
		finish(p, 0);
	else
		ask(p);
}

static void on_body(struct probe *p, const char *bytes, size_t n)
{
	if (n || !p->in.head.chunked)
		message_body(&p->in, bytes, n);
	if (p->in.refuse)
		finish(p, 0);
	else if (p->in.complete)
		answered(p);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	const struct head_max max = {LANE_READ_SIZE, LANE_READ_SIZE, 1000};
	struct probe *p = CONTAINER_OF(stream, struct probe, h);
	size_t used;

	if (n == 0 || p->closing)
		return;
	if (n < 0) {
		if (n == UV_EOF && message_eof(&p->in))
			answered(p);
		else
			finish(p, 0);
		return;
	}
	if (p->in.head_done) {
		on_body(p, buf->base, (size_t)n);
		return;
	}
	switch (message_head(&p->in, &p->mem, &max, buf->base, (size_t)n,
			     &used)) {
	case MESSAGE_MORE:
		return;
	case MESSAGE_HEAD:
		if (p->on_answer)
			on_body(p, buf->base + used, (size_t)n - used);
		else
			finish(p, p->in.head.status);
		return;
	default:
		finish(p, 0);
	}
}

void probe__sweep(struct http_upstream *up, uint64_t now)
{
	struct list *it, *tmp;

	LIST_EACH (&up->probes, it, tmp) {
		struct probe *p = LIST_ENTRY(it, struct probe, node);

		if (now >= p->deadline_ms)
			finish(p, 0);
	}
}

void probe__close_all(struct http_upstream *up)
{
	while (!list_empty(&up->probes))
		finish(LIST_ENTRY(up->probes.next, struct probe, node), 0);
}
