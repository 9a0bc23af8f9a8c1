#include <stdio.h>

#include "core/json.h"
#include "http/internal.h"

/* Text into memory that was measured before. */

void text__addu(struct text *t, uint64_t v)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	text__add(t, digits + at, sizeof digits - at);
}

const char *reply__reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} reasons[] = {
		{101, "Switching Protocols"},
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{206, "Partial Content"},
		{301, "Moved Permanently"},
		{302, "Found"},
		{303, "See Other"},
		{304, "Not Modified"},
		{307, "Temporary Redirect"},
		{308, "Permanent Redirect"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{411, "Length Required"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{421, "Misdirected Request"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{499, "Client Closed Request"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
		{507, "Insufficient Storage"},
	};

	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Status";
}

void reply__write(struct request *r, uv_buf_t *iov, unsigned n)
{
	struct conn *c = r->conn;

	if (c->lost || c->cut || c->parked || c->state == CONN_CLOSING)
		return;
	if (r->tap_out)
		for (unsigned i = 0; i < n; i++)
			buf_add(r->tap_out, iov[i].base, iov[i].len);
	if (out__write(&c->out, iov, n))
		c->lost = true;
}

/* The head */

size_t reply__head_room(const struct request *r)
{
	size_t n = 256 + r->pub.id.n;

	for (const struct reply_line *l = r->extra; l; l = l->next)
		n += l->text.n;
	return n;
}

void reply__finish_head(struct request *r, struct text *t, bool has_date)
{
	for (const struct reply_line *l = r->extra; l; l = l->next)
		text__add(t, l->text.p, l->text.n);
	if (!has_date) {
		text__adds(t, "Date: ");
		text__adds(t, lane__date(r->conn->lane));
		text__adds(t, "\r\n");
	}
	text__adds(t, "X-Request-Id: ");
	text__add(t, r->pub.id.p, r->pub.id.n);
	if (r->pub.status == 101)
		text__adds(t, "\r\nConnection: Upgrade\r\n\r\n");
	else if (!r->keep_alive)
		text__adds(t, "\r\nConnection: close\r\n\r\n");
	else if (r->pub.minor == 0)
		text__adds(t, "\r\nConnection: keep-alive\r\n\r\n");
	else
		text__adds(t, "\r\n\r\n");
}

/* Whether the connection can be used again after a reply that begins now. */
static void decide_keep_alive(struct request *r)
{
	const struct message *in = &r->in;

	if (server__ends(r->conn->server) || r->conn->refused)
		r->keep_alive = false;
	if (in->head_done && !in->complete &&
	    (r->expects || in->head.chunked ||
	     (uint64_t)in->head.content_length - in->body_bytes > DRAIN_MAX) &&
	    r->mode != BODY_STREAM)
		r->keep_alive = false;
}

static bool has_extra(const struct request *r, struct str name)
{
	for (const struct reply_line *l = r->extra; l; l = l->next)
		if (l->text.n > name.n && l->text.p[name.n] == ':' &&
		    strncasecmp(l->text.p, name.p, name.n) == 0)
			return true;
	return false;
}

/* False when there is nobody to answer. */
static bool begin(struct request *r, unsigned status)
{
	struct conn *c = r->conn;

	assert(r->proxy.state == PROXY_IS_NONE ||
	       r->proxy.state == PROXY_IS_LEFT);
	if (c->lost || c->cut || r->over || r->pub.status)
		return false;
	r->pub.status = (uint16_t)status;
	if (!r->pub.id.n)
		r->pub.id = lane__new_id(c->lane, &r->mem);
	r->silent =
		r->pub.method == HTTP_HEAD || status == 204 || status == 304;
	decide_keep_alive(r);
	return true;
}

static struct text start_text(struct request *r, unsigned status,
			      const char *type, size_t room)
{
	struct text t;

	room += reply__head_room(r) + (type ? strlen(type) : 0);
	t.begin = t.p = arena_alloc(&r->mem, room);
	t.end = t.p + room;
	text__adds(&t, "HTTP/1.1 ");
	text__addu(&t, status);
	text__adds(&t, " ");
	text__adds(&t, reply__reason(status));
	if (type) {
		text__adds(&t, "\r\nContent-Type: ");
		text__adds(&t, type);
	}
	text__adds(&t, "\r\n");
	return t;
}

static void write_whole(struct request *r, unsigned status, const char *type,
			const void *body, size_t len)
{
	size_t behind = r->silent ? 0 : len <= SMALL_BODY ? len : 0;
	struct text t = start_text(r, status, type, behind);
	uv_buf_t iov[2];
	unsigned n = 1;

	if (status != 204 && status != 304) {
		text__adds(&t, "Content-Length: ");
		text__addu(&t, len);
		text__adds(&t, "\r\n");
	}
	reply__finish_head(r, &t, has_extra(r, STR("date")));
	text__add(&t, body, behind);
	iov[0] = uv_buf_init(t.begin, (unsigned)(t.p - t.begin));
	if (!r->silent && len > behind)
		iov[n++] = (uv_buf_t){(char *)(uintptr_t)body, len};
	reply__write(r, iov, n);
	r->pub.bytes_out += r->silent ? 0 : len;
	r->answered = true;
	conn__ripe(r->conn);
}

/* Early */

static void write_chunk(struct request *r, const char *text, size_t len)
{
	char size[CHUNK_SIZE_ROOM];
	uv_buf_t iov[3] = {out__chunk_size(size, len),
			   {(char *)(uintptr_t)text, len},
			   {(char *)(uintptr_t) "\r\n", 2}};

	reply__write(r, iov, 3);
}

bool http_reply_early(struct http_req *req)
{
	struct request *r = request__of(req);
	uv_buf_t iov;
	struct text t;

	/* One that awaits 100 Continue is to get that first. */
	if (r->early || r->conn->lost || r->conn->cut || r->conn->parked ||
	    r->over || req->status || req->minor == 0 ||
	    req->method == HTTP_HEAD || r->expects)
		return r->early;
	r->early = true;
	decide_keep_alive(r);
	t = start_text(r, 200, "text/event-stream", 96);
	text__adds(&t, "Cache-Control: no-cache\r\n"
		       "Transfer-Encoding: chunked\r\n");
	reply__finish_head(r, &t, has_extra(r, STR("date")));
	iov = uv_buf_init(t.begin, (unsigned)(t.p - t.begin));
	reply__write(r, &iov, 1);
	conn__ripe(r->conn);
	return true;
}

void http_reply_comment(struct http_req *req, const char *text)
{
	struct request *r = request__of(req);
	const char *line = arena_printf(req->arena, ": %s\n\n", text);

	if (r->early && !req->status && r->conn->out.pending == 0)
		write_chunk(r, line, strlen(line));
}

void reply__begin_event(struct request *r, unsigned status)
{
	const char *text = status < 400 ? "data: " : "event: error\ndata: ";

	r->one_event = true;
	write_chunk(r, text, strlen(text));
}

void reply__in_event(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] == '\n' || p[i] == '\r')
			p[i] = ' ';
}

static void write_event(struct request *r, unsigned status, const void *body,
			size_t len)
{
	uv_buf_t end = uv_buf_init((char *)(uintptr_t)REPLY_END_EVENT,
				   sizeof REPLY_END_EVENT - 1);

	reply__begin_event(r, status);
	if (len) {
		char *line = arena_alloc(&r->mem, len);

		memcpy(line, body, len);
		reply__in_event(line, len);
		write_chunk(r, line, len);
	}
	reply__write(r, &end, 1);
	r->pub.bytes_out += len;
	r->answered = true;
	conn__ripe(r->conn);
}

void http_reply_header(struct http_req *req, const char *name,
		       const char *value)
{
	struct request *r = request__of(req);
	struct reply_line *line = arena_alloc(&r->mem, sizeof *line);

	assert(!strpbrk(name, "\r\n: ") && !strpbrk(value, "\r\n"));
	line->next = NULL;
	line->text.p = arena_printf(&r->mem, "%s: %s\r\n", name, value);
	line->text.n = strlen(line->text.p);
	*r->extra_end = line;
	r->extra_end = &line->next;
}

void http_reply_drop(struct http_req *req, struct str names)
{
	struct request *r = request__of(req);

	assert(r->n_drops < REPLY_DROPS);
	r->drops[r->n_drops++] = names;
}

void http_reply(struct http_req *req, unsigned status, const char *type,
		const void *body, size_t len)
{
	struct request *r = request__of(req);

	if (r->mode == BODY_COLLECT || r->mode == BODY_STREAM)
		r->mode = BODY_NONE;
	if (!begin(r, status))
		return;
	r->told_end = true;
	if (r->early)
		write_event(r, status, body, len);
	else
		write_whole(r, status, type, body, len);
}

void http_replyf(struct http_req *req, unsigned status, const char *type,
		 const char *fmt, ...)
{
	char small[1024], *text = small;
	va_list args, again;
	int n;

	assert(fmt);
	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(small, sizeof small, fmt, args);
	va_end(args);
	n = n < 0 ? 0 : n;
	if ((size_t)n >= sizeof small) {
		text = arena_alloc(req->arena, (size_t)n + 1);
		vsnprintf(text, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	http_reply(req, status, type, text, (size_t)n);
}

/* Streamed */

void http_reply_start(struct http_req *req, unsigned status, const char *type,
		      void (*on_drain)(struct http_req *req))
{
	struct request *r = request__of(req);
	uv_buf_t iov;
	struct text t;

	if (!begin(r, status))
		return;
	r->streaming = true;
	r->on_drain = on_drain;
	r->chunked = !r->silent && req->minor == 1;
	if (!r->silent && !r->chunked) {
		r->keep_alive = false;
		r->until_close = true;
	}
	t = start_text(r, status, type, 32);
	if (r->chunked)
		text__adds(&t, "Transfer-Encoding: chunked\r\n");
	reply__finish_head(r, &t, has_extra(r, STR("date")));
	iov = uv_buf_init(t.begin, (unsigned)(t.p - t.begin));
	reply__write(r, &iov, 1);
	conn__ripe(r->conn);
}

bool http_reply_chunk(struct http_req *req, const void *data, size_t len)
{
	struct request *r = request__of(req);
	struct conn *c = r->conn;
	char size[CHUNK_SIZE_ROOM];
	uv_buf_t iov[3];
	unsigned n = 0;

	if (!r->streaming || r->answered || r->silent || len == 0)
		return true;
	if (r->chunked)
		iov[n++] = out__chunk_size(size, len);
	iov[n++] = (uv_buf_t){(char *)(uintptr_t)data, len};
	if (r->chunked)
		iov[n++] = uv_buf_init((char *)(uintptr_t) "\r\n", 2);
	reply__write(r, iov, n);
	req->bytes_out += len;
	if (c->lost || c->cut)
		conn__ripe(c);
	r->want_drain = c->out.pending > LANE_READ_SIZE;
	return !r->want_drain;
}

void http_reply_end(struct http_req *req)
{
	struct request *r = request__of(req);
	uv_buf_t last = uv_buf_init((char *)(uintptr_t) "0\r\n\r\n", 5);

	if (!r->streaming || r->answered)
		return;
	if (r->chunked)
		reply__write(r, &last, 1);
	if (r->mode == BODY_COLLECT || r->mode == BODY_STREAM)
		r->mode = BODY_NONE;
	r->told_end = true;
	r->answered = true;
	conn__ripe(r->conn);
}

void http_reply_abort(struct http_req *req)
{
	struct request *r = request__of(req);

	if (r->answered)
		return;
	r->conn->reset = r->until_close;
	r->conn->cut = true;
	conn__ripe(r->conn);
}

/* Errors */

static void add_member(struct buf *b, const char *name, struct str value)
{
	buf_addf(b, ",\"%s\":", name);
	json_quote(b, value);
}

__attribute__((format(printf, 7, 0))) static void
reply_errorv(struct http_req *req, int code, unsigned status, const char *api,
	     const char *cause, const char *more, const char *fmt, va_list args)
{
	struct request *r = request__of(req);
	struct err err = {0};
	struct buf b;

	err_setv(&err, code, fmt, args);
	if (!req->id.n)
		req->id = lane__new_id(r->conn->lane, &r->mem);
	buf_init(&b, 64 * 1024);
	buf_adds(&b, "{\"error\":{\"code\":");
	json_quote(&b, str_of(err_word(code)));
	add_member(&b, "message", str_of(err.msg));
	add_member(&b, "request_id", req->id);
	if (api)
		add_member(&b, "api", str_of(api));
	if (cause)
		add_member(&b, "cause", str_of(cause));
	buf_addc(&b, '}');
	if (more)
		buf_addf(&b, ",%s", more);
	buf_adds(&b, "}\n");
	http_reply(req, status ? status : (unsigned)err_http(code),
		   "application/json", b.data, b.len);
	buf_fini(&b);
}

void http_reply_error(struct http_req *req, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	reply_errorv(req, code, 0, NULL, NULL, NULL, fmt, args);
	va_end(args);
}

void http_reply_error_full(struct http_req *req, int code, unsigned status,
			   const char *api, const char *cause, const char *fmt,
			   ...)
{
	va_list args;

	va_start(args, fmt);
	reply_errorv(req, code, status, api, cause, NULL, fmt, args);
	va_end(args);
}

void http_reply_error_with(struct http_req *req, int code, const char *api,
			   const char *more, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	reply_errorv(req, code, 0, api, NULL, more, fmt, args);
	va_end(args);
}

/* What the server itself says no to. */
void reply__refuse(struct request *r, unsigned status)
{
	static const struct {
		unsigned status;
		int code;
		const char *text;
	} refusals[] = {
		{408, E_TIMEOUT, "the request did not arrive in time"},
		{413, E_TOOBIG, "the request body is larger than allowed"},
		{414, E_TOOBIG, "the request line is longer than allowed"},
		{417, E_INVALID, "the Expect header asks for what is unknown"},
		{431, E_TOOBIG, "the request headers are larger than allowed"},
		{501, E_INVALID, "the transfer coding or method is not known"},
		{505, E_INVALID, "the HTTP version is not known: use HTTP/1.1"},
	};

	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		if (refusals[i].status != status)
			continue;
		http_reply_error_full(&r->pub, refusals[i].code, status, NULL,
				      NULL, "%s", refusals[i].text);
		return;
	}
	http_reply_error_full(&r->pub, E_INVALID, 400, NULL, NULL,
			      "this is not a well-formed HTTP/1.1 request");
}
