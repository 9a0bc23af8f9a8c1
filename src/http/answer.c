#include "http/internal.h"

enum { MAX_INTERIM = 16 };

/* The upstream's answer on its way to the client: head judged and written anew,
 * body passed on in place. */

/* Whether the body is to be copied behind the head, to go out as one piece. */
static bool small_body(const struct head *h)
{
	return !h->no_body && h->content_length > 0 &&
	       h->content_length <= SMALL_BODY;
}

static bool begins(struct str s, struct str with)
{
	return s.n >= with.n && strncasecmp(s.p, with.p, with.n) == 0;
}

/* The handler sets these itself. */
static void drop_headers(const struct request *r, struct head *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		for (unsigned k = 0; k < r->n_drops; k++)
			if (begins(h->headers[i].name, r->drops[k]))
				h->drop[i] |= HEADER_OURS;
}

static struct text build_head(struct request *r, struct link *l)
{
	struct head *h = &l->in.head;
	size_t behind = small_body(h) ? SMALL_BODY : 0;
	size_t room = 128 + h->first.n + reply__head_room(r) + behind;
	struct text t;

	if (r->n_drops)
		drop_headers(r, h);
	for (uint32_t i = 0; i < h->n; i++)
		room += h->headers[i].name.n + h->headers[i].value.n + 4;
	t.begin = t.p = arena_alloc(&r->mem, room);
	t.end = t.p + room;
	text__adds(&t, "HTTP/1.1 ");
	text__addu(&t, h->status);
	text__add(&t, " ", 1);
	text__add(&t, h->first.p, h->first.n);
	text__add(&t, "\r\n", 2);
	for (uint32_t i = 0; i < h->n; i++) {
		if (h->drop[i])
			continue;
		text__add_line(&t, &h->headers[i]);
	}
	if (h->status == 101) {
		text__add_header(&t, STR("Upgrade"),
				 h->headers[h->upgrade].value);
	} else if (r->proxy.chunked_out) {
		text__adds(&t, "Transfer-Encoding: chunked\r\n");
	} else if (h->content_length >= 0 && h->status != 204) {
		text__adds(&t, "Content-Length: ");
		text__addu(&t, (uint64_t)h->content_length);
		text__add(&t, "\r\n", 2);
	}
	reply__finish_head(r, &t, h->date >= 0);
	return t;
}

static bool says_not_begun(const struct proxy *p, const struct head *h)
{
	if (!p->not_begun.n || h->status != 503)
		return false;
	for (uint32_t i = 0; i < h->n; i++)
		if (str_ieq(h->headers[i].name, p->not_begun))
			return true;
	return false;
}

struct str http_proxy_header(const struct http_req *req, const char *name)
{
	const struct link *l = request__of(req)->proxy.link;
	const struct head *h = &l->in.head;

	for (uint32_t i = 0; i < h->n; i++)
		if (str_ieq(h->headers[i].name, str_of(name)))
			return h->headers[i].value;
	return (struct str){0};
}

static bool is_events(const struct head *h)
{
	static const struct str type = {"text/event-stream", 17};

	for (uint32_t i = 0; i < h->n; i++)
		if (str_ieq(h->headers[i].name, STR("content-type")))
			return begins(h->headers[i].value, type);
	return false;
}

/* Its head was written long ago: what follows are chunks. */
static void begin_late(struct request *r, const struct head *h)
{
	r->proxy.chunked_out = true;
	r->until_close = false;
	if (h->status >= 300 || !is_events(h))
		reply__begin_event(r, h->status);
}

/* The head has come. False when the proxy ended with it. */
static bool begin(struct link *l, struct text *ret_head)
{
	struct request *r = l->req;
	struct proxy *p = &r->proxy;
	struct head *h = &l->in.head;
	bool open_end = !h->no_body && (h->chunked || h->until_eof);

	if (says_not_begun(p, h)) {
		proxy__fail(r, PROXY_NOT_BEGUN);
		return false;
	}
	if (p->on_head) {
		p->on_head(&r->pub, h->status, open_end || h->status == 101,
			   p->data);
		if (l->req != r)
			return false; /* the handler gave up */
	}
	if (server__ends(r->conn->server))
		r->keep_alive = false;
	r->pub.status = h->status;
	p->chunked_out = open_end && r->pub.minor == 1;
	r->until_close = open_end && r->pub.minor == 0;
	if (r->until_close)
		r->keep_alive = false;
	p->state = h->status == 101 ? PROXY_IS_TUNNEL : PROXY_IS_ANSWER;
	proxy__forget_body(r);
	buf_fini(&r->body);
	p->keep_lost = true;
	if (r->early)
		begin_late(r, h);
	else
		*ret_head = build_head(r, l);
	return true;
}

/* Writes head (or none), pieces and the end, as far as they are there. */
static void pass(struct link *l, struct text *head)
{
	struct request *r = l->req;
	struct proxy *p = &r->proxy;
	struct gather *g = l->pieces;
	uv_buf_t iov[GATHER_MAX + 4];
	bool last = l->in.complete && !r->one_event;
	char size[CHUNK_SIZE_ROOM];
	unsigned n = 0;

	for (unsigned i = 0; r->one_event && i < g->n; i++)
		reply__in_event(g->iov[i].base, g->iov[i].len);
	if (head->p && small_body(&l->in.head)) {
		head->end = head->p + SMALL_BODY;
		for (unsigned i = 0; i < g->n; i++)
			text__add(head, g->iov[i].base, g->iov[i].len);
		r->pub.bytes_out += g->bytes;
		g->n = 0;
		g->bytes = 0;
	}
	if (head->p)
		iov[n++] = uv_buf_init(head->begin,
				       (unsigned)(head->p - head->begin));
	if (p->chunked_out && g->bytes)
		iov[n++] = out__chunk_size(size, g->bytes);
	memcpy(iov + n, g->iov, g->n * sizeof *iov);
	n += g->n;
	if (p->chunked_out && (g->bytes || last))
		iov[n++] = uv_buf_init((char *)(uintptr_t) "\r\n0\r\n\r\n" +
					       (g->bytes ? 0 : 2),
				       (g->bytes ? 2U : 0U) + (last ? 5U : 0U));
	r->pub.bytes_out += g->bytes;
	g->n = 0;
	g->bytes = 0;
	head->p = NULL;
	reply__write(r, iov, n);
	if (r->one_event && l->in.complete) {
		iov[0] = uv_buf_init((char *)(uintptr_t)REPLY_END_EVENT,
				     sizeof REPLY_END_EVENT - 1);
		reply__write(r, iov, 1);
	}
	if (r->conn->lost)
		conn__ripe(r->conn);
	else if (r->conn->out.pending)
		upstream__read(l, false);
}

/* While the parser runs; the rest goes with pass() after it. */
bool answer__piece(struct message *m, const char *at, size_t n)
{
	struct link *l = CONTAINER_OF(m, struct link, in);
	struct gather *g = l->pieces;
	struct text no_head = {0};

	if (g->n == GATHER_MAX)
		pass(l, l->head ? l->head : &no_head);
	g->iov[g->n++] = uv_buf_init((char *)(uintptr_t)at, (unsigned)n);
	g->bytes += n;
	return true;
}

static void finish(struct link *l, bool clean)
{
	struct request *r = l->req;
	struct proxy *p = &r->proxy;
	const struct head *h = &l->in.head;
	bool reusable = clean && p->all_sent && !p->broken && !h->until_eof &&
			(h->minor == 1 ? !h->says_close : h->says_keep_alive);

	p->link = NULL;
	upstream__put(l, reusable);
	if (r->mode == BODY_PROXY)
		r->mode = BODY_NONE;
	r->answered = true;
	conn__ripe(r->conn);
}

/* A head that is well-formed but has no business here. */
static bool misplaced(const struct request *r, const struct head *h)
{
	return h->status == 101 &&
	       (!r->pub.upgrade || h->upgrade < 0 || !h->says_upgrade ||
		!r->proxy.all_sent || !r->in.complete);
}

/* Takes the head out of p[0..n). Returns whether there is one to pass on. */
static bool take_head(struct link *l, const char **p, size_t *n,
		      struct text *ret_head)
{
	const struct head_max max = {LANE_READ_SIZE, LANE_READ_SIZE, 1000};
	struct request *r = l->req;
	size_t used;

	while (*n > 0) {
		switch (message_head(&l->in, &r->mem, &max, *p, *n, &used)) {
		case MESSAGE_MORE:
			return false;
		case MESSAGE_REFUSED:
			proxy__fail(r, PROXY_BAD_RESPONSE);
			return false;
		default:
			break;
		}
		*p += used;
		*n -= used;
		if (l->in.head.status >= 200 || l->in.head.status == 101) {
			if (!misplaced(r, &l->in.head))
				return begin(l, ret_head);
			proxy__fail(r, PROXY_BAD_RESPONSE);
			return false;
		}
		/* 100 and its like: the client was told to go on by us. */
		if (l->in.head.status < 100 || ++l->interim > MAX_INTERIM) {
			proxy__fail(r, PROXY_BAD_RESPONSE);
			return false;
		}
		message_fini(&l->in);
		message_init(&l->in, MESSAGE_RESPONSE);
		l->in.to_head = r->pub.method == HTTP_HEAD;
		l->in.on_body = answer__piece;
	}
	return false;
}

void answer__feed(struct link *l, const char *p, size_t n)
{
	struct request *r = l->req;
	struct gather pieces;
	struct text head = {0};
	size_t used;

	if (r->conn->parked) {
		park__hold(l, p, n);
		return;
	}
	if (r->proxy.state == PROXY_IS_TUNNEL) {
		tunnel__from_upstream(r, p, n);
		return;
	}
	if (!r->proxy.head_sent) {
		/* An answer to nothing. */
		proxy__fail(r, PROXY_BAD_RESPONSE);
		return;
	}
	if (!l->in.head_done && !take_head(l, &p, &n, &head))
		return;
	pieces.n = 0;
	pieces.bytes = 0;
	l->pieces = &pieces;
	l->head = &head;
	if (r->proxy.state == PROXY_IS_TUNNEL) {
		pass(l, &head);
		tunnel__begin(r);
		if (n > 0)
			tunnel__from_upstream(r, p, n);
		return;
	}
	used = message_body(&l->in, p, n);
	pass(l, &head);
	if (l->in.refuse)
		proxy__fail(r, PROXY_DIED);
	else if (l->in.complete)
		finish(l, used == n);
}

void answer__eof(struct link *l, int status)
{
	struct request *r = l->req;
	struct text none = {0};
	struct gather pieces;

	if (r->proxy.state == PROXY_IS_TUNNEL && status == UV_EOF) {
		conn__ripe(r->conn);
	} else if (status == UV_EOF && message_eof(&l->in)) {
		pieces.n = 0;
		pieces.bytes = 0;
		l->pieces = &pieces;
		pass(l, &none);
		finish(l, false);
	} else {
		proxy__fail(r, PROXY_DIED);
	}
}
