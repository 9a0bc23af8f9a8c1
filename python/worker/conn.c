/* conn.c: connections of the daemon: read, parsed, answered, noticed when gone.
 */
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/str.h"

enum { READ_SIZE = 64 * 1024, HEADERS_MAX = 512 };

/* ---- parsing ---- */

static struct request *req_of(llhttp_t *p)
{
	return ((struct conn *)p->data)->req;
}

static int on_begin(llhttp_t *p)
{
	struct conn *c = p->data;

	c->req = request_new(c);
	c->parsing = true;
	c->in_value = true;
	return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
	struct request *r = req_of(p);

	r->url_len += n;
	return buf_add(&r->text, at, n) ? -1 : 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
	struct conn *c = p->data;
	struct request *r = c->req;

	if (c->in_value) {
		if (r->n_headers == HEADERS_MAX)
			return -1;
		if (r->n_headers == r->cap_headers) {
			r->cap_headers =
				r->cap_headers ? r->cap_headers * 2 : 16;
			r->headers =
				mem_grow(r->headers,
					 r->cap_headers * sizeof *r->headers);
		}
		r->headers[r->n_headers++] =
			(struct header){.name = r->text.len};
		c->in_value = false;
	}
	r->headers[r->n_headers - 1].name_len += n;
	return buf_add(&r->text, at, n) ? -1 : 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
	struct conn *c = p->data;
	struct request *r = c->req;
	struct header *h = &r->headers[r->n_headers - 1];

	if (!c->in_value) {
		h->value = r->text.len;
		c->in_value = true;
	}
	h->value_len += n;
	return buf_add(&r->text, at, n) ? -1 : 0;
}

static struct str name_of(const struct request *r, const struct header *h)
{
	return (struct str){r->text.data + h->name, h->name_len};
}

static int on_head(llhttp_t *p)
{
	struct conn *c = p->data;
	struct request *r = c->req;

	r->method = llhttp_get_method(p);
	for (size_t i = 0; i < r->n_headers; i++) {
		struct header *h = &r->headers[i];

		if (!str_ieq(name_of(r, h), STR("x-request-id")))
			continue;
		r->id = h->value;
		r->id_len = h->value_len;
	}
	if (p->content_length && !(p->flags & F_CHUNKED)) {
		if (worker.max_body && p->content_length > worker.max_body)
			return -1;
		/* What is announced may never come: believe it in part. */
		buf_reserve(&r->body,
			    (size_t)MIN(p->content_length, 16u << 20));
	}
	return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
	return buf_add(&req_of(p)->body, at, n) ? -1 : 0;
}

static int on_whole(llhttp_t *p)
{
	req_of(p)->keep_alive = llhttp_should_keep_alive(p) != 0;
	return HPE_PAUSED;
}

static const llhttp_settings_t *settings(void)
{
	static llhttp_settings_t s;

	if (!s.on_message_begin) {
		llhttp_settings_init(&s);
		s.on_url = on_url;
		s.on_header_field = on_field;
		s.on_header_value = on_value;
		s.on_headers_complete = on_head;
		s.on_body = on_body;
		s.on_message_complete = on_whole;
		s.on_message_begin = on_begin;
	}
	return &s;
}

/* ---- life ---- */

static void set_events(struct conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	if (c->events == events)
		return;
	c->events = events;
	epoll_ctl(worker.epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

static void update_events(struct conn *c)
{
	uint32_t events = EPOLLRDHUP;

	/* With a request in hand more input stays in the socket. */
	if (!c->req || c->parsing)
		events |= EPOLLIN;
	else
		events |= c->events & EPOLLIN;
	if (c->out.len > c->sent)
		events |= EPOLLOUT;
	set_events(c, events);
}

void conn_accept_all(void)
{
	for (int i = 0; i < 64; i++) {
		int fd = accept4(worker.listen_fd, NULL, NULL,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP};
		struct conn *c;

		if (fd < 0)
			return;
		c = mem_alloc(sizeof *c);
		c->fd = fd;
		llhttp_init(&c->parser, HTTP_REQUEST, settings());
		c->parser.data = c;
		buf_init(&c->in, READ_SIZE + 1);
		buf_init(&c->out, ANSWER_MAX);
		c->events = ev.events;
		ev.data.ptr = c;
		list_push_back(&worker.conns, &c->link);
		worker.n_conns++;
		if (epoll_ctl(worker.epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
			conn_close(c);
	}
}

/* Events of this connection may still be in the poller's hands: the struct
 * lives until the burst is over, in worker.dead. */
void conn_close(struct conn *c)
{
	struct request *r = c->req;

	if (c->fd < 0)
		return;
	close(c->fd);
	c->fd = -1;
	list_remove(&c->link);
	worker.n_conns--;
	if (r && r->running) {
		r->conn = NULL; /* the slot frees it */
	} else if (r) {
		if (!c->parsing)
			worker.n_queued -= !list_empty(&r->link);
		request_free(r);
	}
	c->req = NULL;
	buf_fini(&c->in);
	buf_fini(&c->out);
	list_push_back(&worker.dead, &c->link);
}

void conn_reap(void)
{
	while (!list_empty(&worker.dead)) {
		struct conn *c =
			LIST_ENTRY(worker.dead.next, struct conn, link);

		list_remove(&c->link);
		free(c);
	}
}

void conn_close_idle(void)
{
	struct list *it, *tmp;

	LIST_EACH (&worker.conns, it, tmp) {
		struct conn *c = LIST_ENTRY(it, struct conn, link);

		if (!c->req && c->out.len == c->sent)
			conn_close(c);
	}
}

void conn_close_waiting(void)
{
	struct list *it, *tmp;

	LIST_EACH (&worker.conns, it, tmp) {
		struct conn *c = LIST_ENTRY(it, struct conn, link);

		if (c->req && !c->req->running)
			conn_close(c);
	}
}

/* ---- reading ---- */

static void refuse(struct conn *c)
{
	static const char answer[] = "HTTP/1.1 400 Bad Request\r\n"
				     "Content-Length: 0\r\n"
				     "Connection: close\r\n\r\n";

	if (c->parsing && c->req) {
		struct request *r = c->req;

		c->req = NULL;
		request_free(r);
		c->parsing = false;
	}
	conn_answer(c, answer, sizeof answer - 1, NULL, 0, false);
}

/* Parses; what lies behind a whole request is kept for later. */
static void feed(struct conn *c, const char *data, size_t n)
{
	const llhttp_errno_t rc = llhttp_execute(&c->parser, data, n);

	if (rc == HPE_OK)
		return;
	if (rc == HPE_PAUSED) {
		const char *rest = llhttp_get_error_pos(&c->parser);
		size_t used = rest ? (size_t)(rest - data) : n;
		struct request *r = c->req;

		llhttp_resume(&c->parser);
		c->parsing = false;
		if (used < n && buf_add(&c->in, data + used, n - used)) {
			refuse(c);
			return;
		}
		request_arrived(r);
		return;
	}
	refuse(c);
}

static void feed_kept(struct conn *c)
{
	while (c->fd >= 0 && !c->req && c->in.len && !c->close_after) {
		size_t n;
		cleanup_free char *data = buf_take(&c->in, &n);

		feed(c, data, n);
	}
}

static void conn_read(struct conn *c)
{
	static char data[READ_SIZE];
	ssize_t n;

	if (c->req && !c->parsing) {
		/* Not now: leave it in the socket, and do not be woken. */
		set_events(c, c->events & ~(uint32_t)EPOLLIN);
		return;
	}
	do {
		n = read(c->fd, data, sizeof data);
		if (n > 0)
			feed(c, data, (size_t)n);
	} while (n == (ssize_t)sizeof data && c->fd >= 0 &&
		 (!c->req || c->parsing));
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_close(c);
}

/* ---- writing ---- */

static void conn_flush(struct conn *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->sent,
				 c->out.len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			update_events(c);
			return;
		}
		if (n < 0) {
			conn_close(c);
			return;
		}
		c->sent += (size_t)n;
	}
	buf_fini(&c->out);
	c->sent = 0;
	if (c->close_after || (worker.stopping && !c->req))
		conn_close(c);
	else
		update_events(c);
}

void conn_answer(struct conn *c, const char *head, size_t head_len,
		 const char *body, size_t body_len, bool keep_alive)
{
	struct iovec iov[2] = {{(void *)(uintptr_t)head, head_len},
			       {(void *)(uintptr_t)body, body_len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = body_len ? 2 : 1};
	ssize_t n = 0;
	size_t taken;

	if (c->fd < 0)
		return;
	if (!keep_alive)
		c->close_after = true;
	if (!c->out.len) {
		do {
			n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		} while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN) {
			conn_close(c);
			return;
		}
	}
	taken = n > 0 ? (size_t)n : 0;
	if (taken == head_len + body_len) {
		if (c->close_after)
			conn_close(c);
		return;
	}
	if (taken < head_len) {
		buf_add(&c->out, head + taken, head_len - taken);
		taken = head_len;
	}
	buf_add(&c->out, body + (taken - head_len),
		body_len - (taken - head_len));
	update_events(c);
}

/* Bytes that came behind its last request are the next. */
void conn_next(struct conn *c)
{
	if (c->fd < 0)
		return;
	if (worker.stopping && c->out.len == c->sent) {
		conn_close(c);
		return;
	}
	if (!(c->events & EPOLLIN))
		update_events(c);
	feed_kept(c);
}

void conn_event(struct conn *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (events & (EPOLLHUP | EPOLLERR)) {
		conn_close(c);
		return;
	}
	if (events & EPOLLOUT)
		conn_flush(c);
	if (c->fd >= 0 && (events & EPOLLIN))
		conn_read(c);
	/* Closed by the other side with a request in progress: nobody waits. */
	if (c->fd >= 0 && (events & EPOLLRDHUP) && c->req)
		conn_close(c);
}
