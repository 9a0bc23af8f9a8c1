#include <stdio.h>

#include "core/sha256.h"
#include "http/internal.h"

/* One request of our own: a GET to see whether an upstream is up, or one whose
 * answer counts. Not through the pool: what is asked is whether it takes
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
	size_t text_n;
	uint64_t deadline_ms;
	uint64_t since_ns;
	unsigned status;
	const char *why; /* status 0 */
	bool late, closing;
	bool hashing;
	struct sha256 hash; /* of the body, ... */
	struct buf kept;    /* ... and its first bytes */
	void (*on_done)(void *data, unsigned status);
	void (*on_told)(void *data, const struct http_told *told); /* or NULL */
	void *data;
};

static void on_connect(uv_connect_t *connect, int status);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_closed(uv_handle_t *h);

/* why: there is no status. */
static void finish(struct probe *p, unsigned status, const char *why)
{
	if (p->closing)
		return;
	p->closing = true;
	p->status = status;
	p->why = why;
	list_remove(&p->node);
	uv_close(&p->h.handle, on_closed);
}

static void tell(struct probe *p)
{
	char digest[SHA256_HEX] = "";
	struct http_told told = {
		.status = p->status,
		.why = p->why,
		.late = p->late,
		.body = {p->kept.data, p->kept.len},
		.size = p->in.body_bytes,
		.digest = digest,
		.took_ns = uv_hrtime() - p->since_ns,
	};

	if (p->status && p->hashing)
		sha256_hex(&p->hash, digest);
	p->on_told(p->data, &told);
}

static void on_closed(uv_handle_t *h)
{
	struct probe *p = CONTAINER_OF(h, struct probe, h);
	struct http_upstream *up = p->up;
	struct lane *lane = up->lane;

	if (p->on_told)
		tell(p);
	else
		p->on_done(p->data, p->status);
	sha256_fini(&p->hash);
	buf_fini(&p->kept);
	message_fini(&p->in);
	arena_fini(&p->mem);
	free(p->text);
	free(p);
	upstream__handle_closed(up);
	lane__run(lane);
}

static bool on_piece(struct message *m, const char *p, size_t n)
{
	struct probe *b = CONTAINER_OF(m, struct probe, in);

	if (b->hashing)
		sha256_add(&b->hash, p, n);
	buf_add(&b->kept, p, MIN(n, b->kept.max - b->kept.len));
	return true;
}

/* All of it was there. */
static void answered(struct probe *p)
{
	finish(p, p->in.head.status, NULL);
}

static const char broken[] = "it closed the connection";

static void on_flushed(struct out *o, int status)
{
	struct probe *p = CONTAINER_OF(o, struct probe, out);

	/* It may have answered without having read all. */
	if (status < 0 && !p->on_told)
		finish(p, 0, broken);
}

static void ask(struct probe *p)
{
	uv_buf_t iov = uv_buf_init(p->text, (unsigned)p->text_n);

	if (uv_read_start(&p->h.stream, lane__alloc, on_read) < 0 ||
	    out__write(&p->out, &iov, 1))
		finish(p, 0, broken);
}

static const char refused[] = "it accepts no connection";

/* Of p what is to be asked and told is set. */
static void begin(struct probe *p, struct http_upstream *up,
		  uint32_t timeout_ms)
{
	struct lane *lane = up->lane;
	bool connecting = false;

	p->up = up;
	p->since_ns = uv_hrtime();
	p->deadline_ms =
		timeout_ms ? uv_now(lane->loop) + timeout_ms : UINT64_MAX;
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
		finish(p, 0, refused);
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
	p->text_n = strlen(p->text);
	begin(p, up, timeout_ms);
}

static bool has_length(const struct http_question *q)
{
	return q->body.p || strcmp(q->method, "GET") != 0;
}

void http_ask(struct http_upstream *up, const struct http_question *q,
	      void (*on_told)(void *data, const struct http_told *told),
	      void *data)
{
	struct probe *p = mem_alloc(sizeof *p);
	struct buf b;

	p->on_told = on_told;
	p->data = data;
	buf_init(&b, SIZE_MAX / 2);
	buf_addf(&b,
		 "%s %s HTTP/1.1\r\nHost: localhost\r\n"
		 "User-Agent: soma-probe\r\nConnection: close\r\n%s",
		 q->method, q->path, q->headers ? q->headers : "");
	if (has_length(q))
		buf_addf(&b, "Content-Length: %zu\r\n", q->body.n);
	buf_adds(&b, "\r\n");
	buf_add(&b, q->body.p, q->body.n);
	p->text = buf_take(&b, &p->text_n);
	buf_init(&p->kept, q->keep);
	p->hashing = q->digest;
	if (q->digest)
		sha256_init(&p->hash);
	begin(p, up, q->timeout_ms);
}

static void on_connect(uv_connect_t *connect, int status)
{
	struct probe *p = CONTAINER_OF(connect, struct probe, connect);

	if (p->closing)
		return;
	if (status < 0)
		finish(p, 0, refused);
	else
		ask(p);
}

static const char malformed[] = "its answer is no HTTP";

static void on_body(struct probe *p, const char *bytes, size_t n)
{
	if (n || !p->in.head.chunked)
		message_body(&p->in, bytes, n);
	if (p->in.refuse)
		finish(p, 0, malformed);
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
			finish(p, 0, broken);
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
		if (p->on_told)
			on_body(p, buf->base + used, (size_t)n - used);
		else
			finish(p, p->in.head.status, NULL);
		return;
	default:
		finish(p, 0, malformed);
	}
}

void probe__sweep(struct http_upstream *up, uint64_t now)
{
	struct list *it, *tmp;

	LIST_EACH (&up->probes, it, tmp) {
		struct probe *p = LIST_ENTRY(it, struct probe, node);

		if (now < p->deadline_ms)
			continue;
		p->late = true;
		finish(p, 0, "its time was over");
	}
}

void probe__close_all(struct http_upstream *up)
{
	while (!list_empty(&up->probes))
		finish(LIST_ENTRY(up->probes.next, struct probe, node), 0,
		       broken);
}
