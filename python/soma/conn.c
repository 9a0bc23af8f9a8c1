/* Connections: bytes in, requests out; answers in, bytes out.
 *
 *   READING ──request complete──▶ WAITING ──answer──▶ (WRITING) ──▶ READING
 *      │ refused                                          │ last one
 *      └───────────▶ (WRITING) ──▶ DISCARDING ──EOF──▶ closed
 */
#include "stages.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/json.h"

/* One for all: used under worker.lock only. */
static char scratch[READ_SIZE];

/* --- life ------------------------------------------------------------------
 */

void conn__watch(struct conn *c)
{
	uint32_t want = 0; /* a hang-up is told always */

	if (c->state == CONN_WRITING || conn_pending(c))
		want = EPOLLOUT;
	else if (!c->eof && c->ahead.len < AHEAD_MAX)
		want = EPOLLIN;
	if (want == c->watched)
		return;
	c->watched = want;
	poll_watch(c->fd, c->serial, want, true);
}

static void open_conn(int fd)
{
	struct conn *c;

	if ((size_t)fd >= worker.conns_cap) {
		size_t cap = worker.conns_cap ? worker.conns_cap : 64;

		while (cap <= (size_t)fd)
			cap *= 2;
		worker.conns =
			mem_grow(worker.conns, cap * sizeof(*worker.conns));
		memset(worker.conns + worker.conns_cap, 0,
		       (cap - worker.conns_cap) * sizeof(*worker.conns));
		worker.conns_cap = cap;
	}
	c = mem_alloc(sizeof *c);
	c->fd = fd;
	if (++worker.serial == 0) /* 0 is for the listener and its like */
		worker.serial = 1;
	c->serial = worker.serial;
	c->watched = EPOLLIN;
	buf_init(&c->ahead, AHEAD_MAX + READ_SIZE);
	buf_init(&c->out, SIZE_MAX / 4);
	if (poll_watch(fd, c->serial, c->watched, false)) {
		close(fd);
		free(c);
		return;
	}
	worker.conns[fd] = c;
	worker.n_conns++;
}

void conn_accept(void)
{
	int fd;

	while ((fd = accept4(worker.listener, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		open_conn(fd);
	/* Out of descriptors: epoll would tell us without end. */
	if (errno == EMFILE || errno == ENFILE)
		poll_deafen();
}

/* A running request goes on without it; any other ends with it. */
void conn_close(struct conn *c)
{
	struct request *r = c->request;

	worker.conns[c->fd] = NULL;
	worker.n_conns--;
	close(c->fd);
	poll_hear();
	if (r) {
		stages_gone(r);
		request_cancel(r);
	}
	request_leave(r);
	buf_fini(&c->ahead);
	buf_fini(&c->out);
	free(c);
}

/* --- answers ---------------------------------------------------------------
 */

static const char *reason(int status)
{
	switch (status) {
#define X(num, name, string)                                                   \
	case num:                                                              \
		return #string;
		HTTP_STATUS_MAP(X)
#undef X
	default:
		return "Status";
	}
}

/* The answer has left. */
void conn__written(struct conn *c)
{
	if (c->keep) {
		c->state = CONN_READING;
		return;
	}
	/* Closed with bytes unread, a socket resets its peer, which may then
	 * lose the answer: read them away first. */
	c->state = CONN_DISCARDING;
	buf_fini(&c->ahead);
	shutdown(c->fd, SHUT_WR);
}

/* Status line and headers with the empty line, in b. */
void conn__head(const struct conn *c, const struct reply *a, bool bare,
		struct buf *b)
{
	buf_adds(b, "HTTP/1.1 ");
	buf_addu(b, (unsigned)a->status);
	buf_adds(b, " ");
	buf_adds(b, reason(a->status));
	if (!bare) {
		buf_adds(b, "\r\ncontent-length: ");
		buf_addu(b, a->body.n);
	}
	if (a->type) {
		buf_adds(b, "\r\ncontent-type: ");
		buf_adds(b, a->type);
	}
	buf_adds(b, c->keep ? "\r\n" : "\r\nconnection: close\r\n");
	buf_add(b, a->headers.p, a->headers.n);
	if (c->request && c->request->timed)
		stages_add_timing(c->request, b);
	buf_adds(b, "\r\n");
}

/* As conn_reply, without reading on: false when c is gone. */
static bool reply(struct conn *c, const struct reply *a)
{
	struct request *r = c->request;
	bool bare = a->status == 204 || a->status == 304 || a->status < 200;
	bool head_only = bare || (r && r->method == HTTP_HEAD);
	struct buf *head = &worker.head;
	struct iovec iov[2];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 1};
	size_t total, sent;
	ssize_t n;

	c->keep = r && r->keep_alive && !a->close && !c->eof &&
		  worker.state == WORKER_SERVING;
	buf_reset(head);
	conn__head(c, a, bare, head);
	if (!head_only && a->body.n <= SMALL_BODY)
		buf_add(head, a->body.p, a->body.n);
	else if (!head_only)
		iov[msg.msg_iovlen++] =
			(struct iovec){(char *)(uintptr_t)a->body.p, a->body.n};
	iov[0] = (struct iovec){head->data, head->len};
	total = head->len + (msg.msg_iovlen > 1 ? a->body.n : 0);

	c->request = NULL;
	request_leave(r);

	do {
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN) {
		conn_close(c);
		return false;
	}
	sent = n < 0 ? 0 : (size_t)n;
	if (sent == total) {
		conn__written(c);
		return true;
	}
	for (size_t i = 0; i < msg.msg_iovlen; i++) {
		size_t skip = MIN(sent, iov[i].iov_len);

		buf_add(&c->out, (char *)iov[i].iov_base + skip,
			iov[i].iov_len - skip);
		sent -= skip;
	}
	c->state = CONN_WRITING;
	return true;
}

void error_text(struct buf *b, const char *code, struct str message,
		const char *id)
{
	buf_adds(b, "{\"error\":{\"code\":");
	json_quote(b, str_of(code));
	buf_adds(b, ",\"message\":");
	json_quote(b, message);
	buf_adds(b, ",\"request_id\":");
	json_quote(b, str_of(id));
	buf_adds(b, "}}\n");
}

__attribute__((format(printf, 4, 0))) static bool
refuse(struct conn *c, int status, const char *code, const char *fmt,
       va_list args)
{
	struct reply a = {.status = status,
			  .type = "application/json",
			  .close = c->discard};
	char text[ERR_MSG_MAX], allow[sizeof worker.allow + 16];
	struct buf b;
	bool alive;

	vsnprintf(text, sizeof text, fmt, args);
	buf_init(&b, SIZE_MAX / 4);
	error_text(&b, code, str_of(text), c->request->id);
	a.body = (struct str){b.data, b.len};
	if (status == 405) {
		snprintf(allow, sizeof allow, "allow: %s\r\n", worker.allow);
		a.headers = str_of(allow);
	}
	/* To the daemon: may go elsewhere, whatever its method. */
	if (status == 503 && !c->request->begun)
		a.headers = STR("soma-not-begun: 1\r\n");
	alive = reply(c, &a);
	buf_fini(&b);
	return alive;
}

__attribute__((format(printf, 4, 5))) static bool
refuse_f(struct conn *c, int status, const char *code, const char *fmt, ...)
{
	va_list args;
	bool alive;

	va_start(args, fmt);
	alive = refuse(c, status, code, fmt, args);
	va_end(args);
	return alive;
}

/* --- requests --------------------------------------------------------------
 */

/* What needs no Python is answered here. False when c is gone. */
static bool dispatch(struct conn *c)
{
	struct request *r = c->request;
	char allow[sizeof worker.allow + 16];

	if (call_serves(r->method)) {
		c->state = CONN_WAITING;
		if (worker.n_stuck == worker.n_slots)
			return refuse_f(c, 503, "unavailable", NOT_BEGUN);
		if (!call_has_pre())
			slot_queue(r);
		else if (!hooks_pre(r))
			return refuse_f(c, 503, "unavailable",
					"no thread can be made for "
					"pre_predict");
		return true;
	}
	switch (r->method) {
	case HTTP_GET:
	case HTTP_HEAD:
		if (worker.summary)
			return reply(c,
				     &(struct reply){
					     .status = 200,
					     .type = "application/json",
					     .body = str_of(worker.summary)});
		break;
	case HTTP_OPTIONS:
		/* Browsers' questions are the daemon's to answer. */
		snprintf(allow, sizeof allow, "allow: %s\r\n", worker.allow);
		return reply(c, &(struct reply){.status = 204,
						.headers = str_of(allow)});
	default:
		break;
	}
	return refuse_f(c, 405, "method_not_allowed",
			"%s is not served here: send one of %s",
			llhttp_method_name(r->method), worker.allow);
}

/* Refuses what the parser did not take. False when c is gone. */
static bool reject(struct conn *c)
{
	struct request *r = c->request;

	c->discard = true;
	switch (r->refuse) {
	case 413:
		return refuse_f(c, 413, "too_large",
				"the request body is over the limit of %zu "
				"bytes",
				worker.max_body);
	case 431:
		return refuse_f(c, 431, "invalid",
				"the request's head is over the limit of %d "
				"bytes or %d headers",
				HEAD_MAX, HEADERS_MAX);
	default:
		return refuse_f(c, 400, "invalid",
				"the request is not HTTP/1.1: %s",
				llhttp_get_error_reason(&c->parser));
	}
}

/* Takes bytes in. Those behind a complete request are kept in c->ahead, and
 * `p` may be c->ahead's own. False when c is gone. */
static bool feed(struct conn *c, const char *p, size_t n)
{
	while (n > 0 && c->state == CONN_READING) {
		const char *end = p + n;
		llhttp_errno_t rc;

		if (!c->request) {
			c->request = request_create(c);
			request_parser_init(c);
		}
		rc = llhttp_execute(&c->parser, p, n);
		if (rc == HPE_OK)
			return true;
		if (rc != HPE_PAUSED)
			return reject(c);
		p = llhttp_get_error_pos(&c->parser);
		n = (size_t)(end - p);
		if (!dispatch(c))
			return false;
	}
	if (n > 0 && c->state != CONN_DISCARDING)
		buf_add(&c->ahead, p, n);
	return true;
}

/* After an answer: takes up what was read ahead. */
void conn__go_on(struct conn *c)
{
	while (c->state == CONN_READING && c->ahead.len) {
		struct buf had = c->ahead;
		bool alive;

		buf_init(&c->ahead, AHEAD_MAX + READ_SIZE);
		alive = feed(c, had.data, had.len);
		buf_fini(&had);
		if (!alive)
			return;
	}
	if (c->state == CONN_READING && c->eof)
		conn_close(c);
	else
		conn__watch(c);
}

void conn_reply(struct conn *c, const struct reply *a)
{
	if (reply(c, a))
		conn__go_on(c);
}

void conn_refuse(struct conn *c, int status, const char *code, const char *fmt,
		 ...)
{
	va_list args;
	bool alive;

	va_start(args, fmt);
	alive = refuse(c, status, code, fmt, args);
	va_end(args);
	if (alive)
		conn__go_on(c);
}

/* --- events ----------------------------------------------------------------
 */

/* Room for the next read: for a big body where it will lie, so that it is not
 * copied. */
static char *room(struct conn *c, size_t *ret_size)
{
	struct request *r = c->request;
	uint64_t left = c->parser.content_length;

	*ret_size = sizeof scratch;
	if (c->state != CONN_READING || !r || !r->body.len ||
	    !(c->parser.flags & F_CONTENT_LENGTH) || left <= sizeof scratch)
		return scratch;
	*ret_size = (size_t)MIN(left, (uint64_t)BODY_STEP);
	if (buf_reserve(&r->body, *ret_size)) {
		*ret_size = sizeof scratch;
		return scratch;
	}
	return r->body.data + r->body.len;
}

/* False when c is gone. */
static bool read_in(struct conn *c)
{
	size_t size;
	char *at = room(c, &size);
	ssize_t n = recv(c->fd, at, size, MSG_DONTWAIT);

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return true;
		conn_close(c);
		return false;
	}
	if (n == 0) {
		c->eof = true;
		if (c->state == CONN_WAITING || c->state == CONN_STREAMING ||
		    c->state == CONN_WRITING)
			return true; /* half closed: the answer is wanted */
		conn_close(c);
		return false;
	}
	switch (c->state) {
	case CONN_READING:
		return feed(c, at, (size_t)n);
	case CONN_DISCARDING:
		return true;
	default:
		buf_add(&c->ahead, at, (size_t)n);
		return true;
	}
}

/* False when c is gone. */
static bool write_out(struct conn *c)
{
	ssize_t n = send(c->fd, c->out.data + c->out_sent,
			 c->out.len - c->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return true;
		conn_close(c);
		return false;
	}
	c->out_sent += (size_t)n;
	if (c->out_sent == c->out.len) {
		buf_fini(&c->out);
		c->out_sent = 0;
		if (c->state == CONN_WRITING)
			conn__written(c);
	}
	if (c->state == CONN_STREAMING)
		stream_taken(c->request->stream, conn_pending(c));
	return true;
}

void conn_event(struct conn *c, uint32_t events)
{
	if (events & (EPOLLHUP | EPOLLERR)) {
		conn_close(c); /* nobody is there to read an answer */
		return;
	}
	if (events & EPOLLOUT && conn_pending(c) && !write_out(c))
		return;
	if (events & EPOLLIN && !read_in(c))
		return;
	conn__go_on(c);
}

void conn_drain(struct conn *c)
{
	/* A request may lie unread in the socket: it counts as begun. */
	if (c->state == CONN_READING && !c->request && !read_in(c))
		return;
	if (c->state == CONN_READING && !c->request)
		conn_close(c);
	else
		conn__watch(c);
}
