#include <ctype.h>

#include "http/internal.h"

static bool on_piece(struct message *m, const char *p, size_t n);

struct request *request__begin(struct conn *c)
{
	struct request *r = lane__get_req(c->lane);

	r->conn = c;
	arena_init_with(&r->mem, r->room, sizeof r->room);
	r->pub.arena = &r->mem;
	r->pub.server = c->server;
	r->pub.content_length = -1;
	r->pub.peer = (struct str){c->peer, c->peer_n};
	r->pub.loopback = c->loopback;
	r->pub.inner = c->inner;
	r->extra_end = &r->extra;
	message_init(&r->in, MESSAGE_REQUEST);
	r->in.on_body = on_piece;
	return r;
}

void http_req_tap(struct http_req *req, struct buf *body, struct buf *answer)
{
	request__of(req)->tap_in = body;
	request__of(req)->tap_out = answer;
}

bool http_req_is_whole(const struct http_req *req)
{
	return request__of(req)->in.complete;
}

void request__end(struct request *r)
{
	struct lane *lane = r->conn->lane;

	assert(r->proxy.state == PROXY_IS_NONE);
	message_fini(&r->in);
	buf_fini(&r->body);
	proxy__forget_body(r);
	arena_fini(&r->mem);
	lane__put_req(lane, r);
}

/* The head */

static bool sane_id(struct str id)
{
	if (id.n < 1 || id.n > 128)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		unsigned char c = (unsigned char)id.p[i];

		if (!isalnum(c) && (!c || !strchr("._:+/=@-", c)))
			return false;
	}
	return true;
}

/* http://host:port/path to /path, its authority to Host (RFC 9112 3.2.2). */
static unsigned from_absolute(struct request *r, struct str *target)
{
	struct head *h = &r->in.head;
	struct str rest = *target, authority;
	size_t i = 0;

	if (rest.n > 7 && strncasecmp(rest.p, "http://", 7) == 0)
		i = 7;
	else if (rest.n > 8 && strncasecmp(rest.p, "https://", 8) == 0)
		i = 8;
	else
		return 400;
	rest.p += i;
	rest.n -= i;
	for (i = 0; i < rest.n && rest.p[i] != '/' && rest.p[i] != '?'; i++) {
		if (!head__is_host_char((unsigned char)rest.p[i]))
			return 400;
	}
	authority = (struct str){rest.p, i};
	if (i == 0)
		return 400;
	if (h->host >= 0)
		h->headers[h->host].value = authority;
	if (i == rest.n) {
		*target = h->method == HTTP_OPTIONS ? STR("*") : STR("/");
	} else if (rest.p[i] == '?') {
		char *path = arena_alloc(&r->mem, rest.n - i + 1);

		path[0] = '/';
		memcpy(path + 1, rest.p + i, rest.n - i);
		*target = (struct str){path, rest.n - i + 1};
	} else {
		*target = (struct str){rest.p + i, rest.n - i};
	}
	return 0;
}

static unsigned set_target(struct request *r)
{
	struct http_req *req = &r->pub;
	struct str target = r->in.head.first;
	const char *q;
	unsigned status = 0;

	if (target.n == 0)
		return 400;
	if (target.n == 1 && target.p[0] == '*')
		status = req->method == HTTP_OPTIONS ? 0 : 400;
	else if (target.p[0] != '/')
		status = from_absolute(r, &target);
	if (status)
		return status;
	req->target = req->path = target;
	q = memchr(target.p, '?', target.n);
	if (q) {
		req->path.n = (size_t)(q - target.p);
		req->query = (struct str){q + 1, target.n - req->path.n - 1};
	}
	return 0;
}

unsigned request__ready(struct request *r)
{
	const struct http_limits *limits = r->conn->server->opts.limits;
	struct head *h = &r->in.head;
	struct http_req *req = &r->pub;
	unsigned status;

	req->method = h->method;
	req->method_name = str_of(llhttp_method_name(h->method));
	req->headers = h->headers;
	req->n_headers = h->n;
	req->minor = h->minor;
	req->content_length = h->content_length;
	req->has_body = !r->in.complete;
	req->upgrade = h->minor == 1 && h->says_upgrade && h->upgrade >= 0;
	req->start_ns = uv_hrtime();
	r->keep_alive = h->minor == 1 ? !h->says_close : h->says_keep_alive;
	r->expects = h->expects_100 && h->minor == 1 && req->has_body;
	if (h->request_id >= 0 && sane_id(h->headers[h->request_id].value))
		req->id = h->headers[h->request_id].value;
	if (h->method == HTTP_CONNECT)
		return 501;
	status = set_target(r);
	if (status)
		return status;
	if (h->expects_other)
		return 417;
	if (limits->body_bytes && h->content_length >= 0 &&
	    (uint64_t)h->content_length > limits->body_bytes)
		return 413;
	if (!req->id.n)
		req->id = lane__new_id(r->conn->lane, &r->mem);
	return 0;
}

/* The body */

void request__ask_body(struct request *r)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	uv_buf_t iov = uv_buf_init((char *)text, sizeof text - 1);

	if (!r->expects)
		return;
	r->expects = false;
	if (r->in.body_bytes == 0 && r->conn->hold.len == 0 &&
	    r->pub.status == 0)
		reply__write(r, &iov, 1);
}

bool request__wants_body(const struct request *r)
{
	switch ((enum body_mode)r->mode) {
	case BODY_NONE:
		return false;
	case BODY_STREAM:
		return !r->paused;
	case BODY_PROXY:
		return proxy__wants_body(r);
	case BODY_COLLECT:
	case BODY_DROP:
		break;
	}
	return true;
}

static bool on_piece(struct message *m, const char *p, size_t n)
{
	struct request *r = CONTAINER_OF(m, struct request, in);
	const struct http_limits *limits = r->conn->server->opts.limits;

	if (r->over) /* what is left is dropped, within limits */
		return true;
	r->pub.bytes_in += n;
	if (r->tap_in)
		buf_add(r->tap_in, p, n);
	if (limits->body_bytes && r->pub.bytes_in > limits->body_bytes) {
		conn__fault(r->conn, 413);
		return false;
	}
	switch ((enum body_mode)r->mode) {
	case BODY_COLLECT:
		if (buf_add(&r->body, p, n)) {
			r->mode = BODY_NONE;
			r->conn->refused = true;
			r->keep_alive = false;
			reply__refuse(r, 413);
			return false;
		}
		break;
	case BODY_STREAM:
		r->on_chunk(&r->pub, p, n);
		return !r->paused && r->mode == BODY_STREAM;
	case BODY_PROXY:
		proxy__piece(r, p, n);
		break;
	case BODY_NONE:
	case BODY_DROP:
		break;
	}
	return true;
}

size_t request__feed(struct request *r, const char *p, size_t n)
{
	struct gather pieces;
	size_t used;

	pieces.n = 0;
	pieces.bytes = 0;
	r->proxy.pieces = &pieces;
	used = message_body(&r->in, p, n);
	if (r->mode == BODY_PROXY && !r->in.refuse)
		proxy__send(r);
	r->proxy.pieces = NULL;
	return used;
}

void request__step(struct request *r)
{
	if (r->told_end || r->faulted)
		return;
	if (r->mode == BODY_COLLECT && r->in.complete) {
		r->told_end = true;
		r->mode = BODY_NONE;
		r->on_body(&r->pub, r->body.data ? r->body.data : "",
			   r->body.len);
	} else if (r->mode == BODY_STREAM && r->in.complete && !r->paused) {
		r->told_end = true;
		r->mode = BODY_NONE;
		if (r->on_end)
			r->on_end(&r->pub);
	}
}

/* For handlers */

void http_req_body(struct http_req *req, size_t max,
		   void (*on_body)(struct http_req *req, const char *body,
				   size_t len))
{
	struct request *r = request__of(req);

	assert(r->mode == BODY_NONE && !r->told_end);
	if (r->in.complete) {
		r->told_end = true;
		on_body(req, "", 0);
		return;
	}
	if (req->content_length > 0 && (uint64_t)req->content_length > max) {
		r->conn->refused = true;
		r->keep_alive = false;
		reply__refuse(r, 413);
		return;
	}
	buf_init(&r->body, max);
	if (req->content_length > 0)
		buf_reserve(&r->body, MIN((size_t)req->content_length,
					  (size_t)LANE_READ_SIZE));
	r->on_body = on_body;
	r->mode = BODY_COLLECT;
	request__ask_body(r);
	conn__ripe(r->conn);
}

void http_req_stream(struct http_req *req,
		     void (*on_chunk)(struct http_req *req, const char *data,
				      size_t len),
		     void (*on_end)(struct http_req *req))
{
	struct request *r = request__of(req);

	assert(r->mode == BODY_NONE && !r->told_end);
	r->on_chunk = on_chunk;
	r->on_end = on_end;
	r->mode = BODY_STREAM;
	request__ask_body(r);
	conn__ripe(r->conn);
}

void http_req_pause(struct http_req *req)
{
	request__of(req)->paused = true;
}

void http_req_resume(struct http_req *req)
{
	struct request *r = request__of(req);

	r->paused = false;
	conn__ripe(r->conn);
}

struct str http_req_header(const struct http_req *req, const char *name)
{
	struct str want = str_of(name);

	for (uint32_t i = 0; i < req->n_headers; i++)
		if (str_ieq(req->headers[i].name, want))
			return req->headers[i].value;
	return (struct str){NULL, 0};
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL when it would hold a NUL. A % without two digits stands for itself. */
static char *decode(struct arena *mem, struct str s)
{
	char *out = arena_alloc(mem, s.n + 1), *o = out;

	for (size_t i = 0; i < s.n; i++) {
		int hi = -1, lo = -1;

		if (s.p[i] == '%' && i + 2 < s.n) {
			hi = hex_digit(s.p[i + 1]);
			lo = hex_digit(s.p[i + 2]);
		}
		if (hi >= 0 && lo >= 0) {
			*o = (char)(hi << 4 | lo);
			if (*o++ == 0)
				return NULL;
			i += 2;
		} else {
			*o++ = s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	*o = 0;
	return out;
}

const char *http_req_param(struct http_req *req, const char *name)
{
	struct str rest = req->query;

	while (rest.n) {
		const char *amp = memchr(rest.p, '&', rest.n);
		struct str pair = {rest.p,
				   amp ? (size_t)(amp - rest.p) : rest.n};
		const char *eq = memchr(pair.p, '=', pair.n);
		struct str key = {pair.p, eq ? (size_t)(eq - pair.p) : pair.n};
		const char *plain;

		rest.p += pair.n + (amp != NULL);
		rest.n -= pair.n + (amp != NULL);
		plain = decode(req->arena, key);
		if (!plain || strcmp(plain, name) != 0)
			continue;
		return decode(req->arena,
			      eq ? (struct str){eq + 1, pair.n - key.n - 1}
				 : (struct str){"", 0});
	}
	return NULL;
}
