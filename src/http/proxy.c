#include "http/internal.h"

enum { KEEP_BODY = 1024 * 1024 };

/* The head that goes upstream, written anew from what was parsed. */

static bool is_added(const struct http_proxy_opts *opts, struct str name)
{
	for (uint32_t i = 0; i < opts->n_add; i++)
		if (str_ieq(opts->add[i].name, name))
			return true;
	return false;
}

/* The chain so far, which may lie in several lines, and our own end of it. */
static void add_forwarded(struct request *r, struct text *t)
{
	const struct conn *c = r->conn;
	const struct head *h = &r->in.head;
	const char *before = "X-Forwarded-For: ";
	bool https = false;

	for (uint32_t i = 0; h->forwarded && i < h->n; i++) {
		struct str name = h->headers[i].name;
		struct str value = h->headers[i].value;

		/* Only a TLS front on this machine is believed. */
		if (str_ieq(name, STR("x-forwarded-proto")))
			https = r->pub.loopback && str_ieq(value, STR("https"));
		if (!value.n || h->drop[i] != HEADER_FORWARDED ||
		    !str_ieq(name, STR("x-forwarded-for")))
			continue;
		text__adds(t, before);
		text__add(t, value.p, value.n);
		before = ", ";
	}
	if (c->ip_n) {
		text__adds(t, before);
		text__add(t, c->peer, c->ip_n);
		before = ", ";
	}
	if (before[0] == ',')
		text__add(t, "\r\n", 2);
	text__adds(t, https ? "X-Forwarded-Proto: https\r\n"
			    : "X-Forwarded-Proto: http\r\n");
	text__adds(t, "X-Request-Id: ");
	text__add(t, r->pub.id.p, r->pub.id.n);
	text__add(t, "\r\n", 2);
}

static void add_framing(struct request *r, struct text *t)
{
	const struct head *h = &r->in.head;

	if (h->chunked) {
		text__adds(t, "Transfer-Encoding: chunked\r\n");
	} else if (h->content_length >= 0) {
		text__adds(t, "Content-Length: ");
		text__addu(t, (uint64_t)h->content_length);
		text__add(t, "\r\n", 2);
	}
	if (r->pub.upgrade) {
		text__adds(t, "Connection: Upgrade\r\n");
		text__add_header(t, STR("Upgrade"),
				 h->headers[h->upgrade].value);
	}
	text__add(t, "\r\n", 2);
}

static void build_head(struct request *r, const struct http_proxy_opts *opts)
{
	const struct head *h = &r->in.head;
	size_t room = 320 + r->pub.method_name.n + opts->target.n + r->pub.id.n;
	struct text t;

	for (uint32_t i = 0; i < h->n; i++)
		room += h->headers[i].name.n + h->headers[i].value.n + 4;
	for (uint32_t i = 0; i < opts->n_add; i++)
		room += opts->add[i].name.n + opts->add[i].value.n + 4;
	t.begin = t.p =
		arena_alloc(&r->mem, room + (r->pub.has_body ? SMALL_BODY : 0));
	t.end = t.p + room;
	text__add(&t, r->pub.method_name.p, r->pub.method_name.n);
	text__add(&t, " ", 1);
	text__add(&t, opts->target.p, opts->target.n);
	text__adds(&t, " HTTP/1.1\r\n");
	/* What we send is 1.1, which wants a Host; 1.0 may have come without.
	 */
	if (h->host < 0 && !is_added(opts, STR("host")))
		text__adds(&t, "Host: localhost\r\n");
	for (uint32_t i = 0; i < h->n; i++) {
		struct http_header *header = &h->headers[i];

		if (h->drop[i] || is_added(opts, header->name) ||
		    str_ieq(header->name, opts->ours))
			continue;
		text__add_line(&t, header);
	}
	for (uint32_t i = 0; i < opts->n_add; i++)
		text__add_header(&t, opts->add[i].name, opts->add[i].value);
	add_forwarded(r, &t);
	add_framing(r, &t);
	r->proxy.head = t.begin;
	r->proxy.head_n = (size_t)(t.p - t.begin);
}

/* Begin */

void http_proxy(struct http_req *req, struct http_upstream *up,
		const struct http_proxy_opts *opts)
{
	struct request *r = request__of(req);
	struct proxy *p = &r->proxy;

	assert(p->state == PROXY_IS_NONE && r->mode == BODY_NONE);
	assert(req->status == 0 && http_proxy_repeatable(req));
	p->up = up;
	p->not_begun = opts->not_begun;
	p->on_head = opts->on_head;
	p->on_held = opts->on_held;
	p->on_end = opts->on_end;
	p->data = opts->data;
	if (r->over || r->faulted || r->conn->lost || r->conn->cut) {
		p->state = PROXY_IS_LEFT;
		conn__ripe(r->conn);
		return;
	}
	p->keep_max = opts->keep_body ? opts->keep_body : KEEP_BODY;
	/* The handler has collected it. */
	if (r->body.len) {
		p->kept = r->body.data;
		p->kept_n = p->kept_cap = r->body.len;
	}
	build_head(r, opts);
	p->fresh = p->reopen = false;
	p->tries = 0;
	r->mode = BODY_PROXY;
	list_init(&p->waiting);
	proxy__open(r);
}

bool http_proxy_repeatable(const struct http_req *req)
{
	const struct request *r = request__of(req);

	return !r->proxy.keep_lost && req->status == 0;
}

/* A connection: from the pool, at once, or later. */
void proxy__open(struct request *r)
{
	struct proxy *p = &r->proxy;
	int rc;

	p->state = PROXY_IS_CONNECT;
	p->head_sent = p->all_sent = p->broken = p->answer_whole = false;
	p->replay = p->kept_n;
	rc = upstream__get(p->up, r, p->fresh, &p->link);
	if (rc == UV_EAGAIN && p->tries++ < BACKLOG_TRIES) {
		/* A Unix socket whose backlog is full does not queue us. */
		list_push_back(&r->conn->lane->waiting, &p->waiting);
		return;
	}
	if (rc < 0)
		proxy__fail(r, PROXY_NO_CONNECT);
	else if (!p->link->connecting)
		proxy__connected(r, 0);
}

void proxy__connected(struct request *r, int status)
{
	struct proxy *p = &r->proxy;

	if (status < 0) {
		proxy__fail(r, PROXY_NO_CONNECT);
		return;
	}
	p->link->in.to_head = r->pub.method == HTTP_HEAD;
	p->link->in.on_body = answer__piece;
	p->state = PROXY_IS_SEND;
	/* The head waits for the step, and so for a body that is here. */
	conn__ripe(r->conn);
}

/* The request's way up */

bool proxy__wants_body(const struct request *r)
{
	const struct proxy *p = &r->proxy;

	return (p->state == PROXY_IS_SEND || p->state == PROXY_IS_ANSWER) &&
	       p->link && !p->broken && p->link->out.pending == 0;
}

void proxy__forget_body(struct request *r)
{
	struct proxy *p = &r->proxy;

	if (p->kept_owned)
		free(p->kept);
	p->kept = NULL;
	p->kept_n = p->kept_cap = p->replay = 0;
	p->kept_owned = false;
}

/* A small body of known length lies in the arena, others grow on the heap. */
static void keep(struct request *r, const char *data, size_t n)
{
	struct proxy *p = &r->proxy;
	int64_t length = r->pub.content_length;
	size_t cap = p->kept_cap;

	if (p->keep_lost)
		return;
	if (r->pub.status || n > p->keep_max - p->kept_n ||
	    (length > 0 && (uint64_t)length > p->keep_max)) {
		proxy__forget_body(r);
		p->keep_lost = true;
		return;
	}
	if (cap == 0 && length > 0 && length <= 2 * SMALL_BODY) {
		p->kept = arena_alloc(&r->mem, (size_t)length);
		p->kept_cap = (size_t)length;
	} else if (n > cap - p->kept_n) {
		for (cap = cap ? cap : 2 * SMALL_BODY; cap < p->kept_n + n;)
			cap *= 2;
		p->kept = mem_grow(p->kept, cap);
		p->kept_cap = cap;
		p->kept_owned = true;
	}
	memcpy(p->kept + p->kept_n, data, n);
	p->kept_n += n;
}

void proxy__piece(struct request *r, const char *data, size_t n)
{
	struct proxy *p = &r->proxy;
	struct gather *g = p->pieces;

	/* What is replayed must be on its way before memory moves. */
	if (g->n == GATHER_MAX || p->replay)
		proxy__send(r);
	keep(r, data, n);
	if (!p->link || p->broken)
		return;
	g->iov[g->n++] = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);
	g->bytes += n;
}

/* A pooled connection may have been closed while this was written. Nothing was
 * taken, so another may have it. */
static bool try_another(struct request *r)
{
	struct proxy *p = &r->proxy;

	if (p->head_sent || !p->link->reused || p->keep_lost)
		return false;
	upstream__put(mem_take(&p->link), false);
	/* Opening may fail at once, which calls the handler: not from here,
	 * a parser may be running. */
	p->state = PROXY_IS_CONNECT;
	p->fresh = p->reopen = true;
	conn__ripe(r->conn);
	return true;
}

/* Writes what there is: head, what an earlier link had already, new pieces,
 * the end. */
void proxy__send(struct request *r)
{
	struct proxy *p = &r->proxy;
	struct gather *g = p->pieces;
	bool chunked = r->in.head.chunked;
	size_t fresh = g ? g->bytes : 0, body = p->replay + fresh;
	uv_buf_t iov[GATHER_MAX + 5];
	char size[CHUNK_SIZE_ROOM];
	unsigned n = 0;

	if (!p->link || p->broken || p->all_sent)
		return;
	if (!p->head_sent)
		iov[n++] = uv_buf_init(p->head, (unsigned)p->head_n);
	if (chunked && body)
		iov[n++] = out__chunk_size(size, body);
	if (p->replay)
		iov[n++] = uv_buf_init(p->kept, (unsigned)p->replay);
	if (!p->head_sent && !chunked && body && body <= SMALL_BODY) {
		char *behind = p->head + p->head_n;

		if (p->replay)
			memcpy(behind, p->kept, p->replay);
		behind += p->replay;
		for (unsigned i = 0; fresh && i < g->n; i++) {
			memcpy(behind, g->iov[i].base, g->iov[i].len);
			behind += g->iov[i].len;
		}
		iov[0].len += body;
		n = 1;
	} else if (fresh) {
		memcpy(iov + n, g->iov, g->n * sizeof *iov);
		n += g->n;
	}
	if (chunked && body)
		iov[n++] = uv_buf_init((char *)(uintptr_t) "\r\n", 2);
	if (chunked && r->in.complete)
		iov[n++] = uv_buf_init((char *)(uintptr_t) "0\r\n\r\n", 5);
	if (g) {
		g->n = 0;
		g->bytes = 0;
	}
	if (out__write(&p->link->out, iov, n)) {
		if (!try_another(r))
			p->broken = true; /* its answer may be on its way */
		return;
	}
	p->head_sent = true;
	p->replay = 0;
	p->all_sent = r->in.complete;
}

void proxy__step(struct request *r)
{
	struct proxy *p = &r->proxy;

	if (p->state == PROXY_IS_TUNNEL) {
		tunnel__step(r);
		return;
	}
	if (p->reopen) {
		p->reopen = false;
		proxy__open(r);
	}
	if (p->state != PROXY_IS_SEND || !p->link || park__resume(r))
		return;
	if (!r->in.complete)
		request__ask_body(r);
	/* With a body held back the head goes along with it. */
	if ((!p->head_sent || p->replay) && !conn__has_held(r->conn))
		proxy__send(r);
}

/* Ends */

static void let_go(struct request *r)
{
	struct proxy *p = &r->proxy;

	p->reopen = false;
	list_remove(&p->waiting);
	if (p->link)
		upstream__put(mem_take(&p->link), false);
	if (r->mode == BODY_PROXY)
		r->mode = BODY_NONE;
}

/* Before the answer has begun the request goes back to the caller with `end`;
 * after, the client's connection is cut. */
void proxy__fail(struct request *r, enum http_proxy_end end)
{
	struct proxy *p = &r->proxy;
	enum proxy_state was = p->state;

	let_go(r);
	if (was == PROXY_IS_LEFT || was == PROXY_IS_NONE)
		return;
	if (was == PROXY_IS_ANSWER || was == PROXY_IS_TUNNEL) {
		r->conn->cut = true;
		r->conn->reset = r->until_close;
		conn__ripe(r->conn);
		end = PROXY_CUT;
	}
	p->state = PROXY_IS_NONE;
	p->on_end(&r->pub, end, p->data);
}

void http_proxy_cancel(struct http_req *req)
{
	proxy__fail(request__of(req), PROXY_CANCELED);
}

void proxy__leave(struct request *r)
{
	if (r->proxy.state == PROXY_IS_NONE)
		return;
	let_go(r);
	r->proxy.state = PROXY_IS_LEFT;
}

/* The client has taken all that was queued for it. */
void proxy__client_flushed(struct request *r)
{
	struct proxy *p = &r->proxy;

	if (p->link &&
	    (p->state == PROXY_IS_ANSWER || p->state == PROXY_IS_TUNNEL))
		upstream__read(p->link, true);
}

/* An upstream closes: what waits to reach it never will. */
void proxy__fail_waiting(struct lane *lane, struct http_upstream *up)
{
	struct list *it, *tmp;
	bool again = true;

	while (again) { /* a handler may change the list */
		again = false;
		LIST_EACH (&lane->waiting, it, tmp) {
			struct request *r =
				CONTAINER_OF(it, struct request, proxy.waiting);

			if (r->proxy.up != up)
				continue;
			proxy__fail(r, PROXY_NO_CONNECT);
			again = true;
			break;
		}
	}
}

void proxy__over(struct request *r, bool gone)
{
	struct proxy *p = &r->proxy;
	enum proxy_state was = p->state;

	if (was == PROXY_IS_NONE)
		return;
	let_go(r);
	p->state = PROXY_IS_NONE;
	p->on_end(&r->pub,
		  gone || was == PROXY_IS_LEFT ? PROXY_GONE : PROXY_DONE,
		  p->data);
}
