#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/internal.h"

enum { BACKLOG = 4096 };

/* The listening handle outlives the drain until its close callback. */
struct listener {
	union http_handle h;
	struct http_server *server; /* borrowed */
	bool unix_socket, closed;
};

static void on_connection(uv_stream_t *stream, int status);
static void on_listener_closed(uv_handle_t *h);
static void maybe_closed(struct http_server *s);

int http_server_open(struct http_server *s, struct lane *lane, int fd,
		     const struct http_server_opts *opts, struct err *err)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof addr;
	struct listener *l;
	int rc;

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return err_sys(err, errno, "listening socket");
	l = mem_alloc(sizeof *l);
	l->unix_socket = addr.ss_family == AF_UNIX;
	l->server = s;
	*s = (struct http_server){.lane = lane, .opts = *opts, .impl = l};
	if (!s->opts.limits)
		s->opts.limits = &http_limits_default;
	list_init(&s->conns);
	list_init(&s->idle);
	list_init(&s->link);
	if (l->unix_socket) {
		uv_pipe_init(lane->loop, &l->h.pipe, 0);
		rc = uv_pipe_open(&l->h.pipe, fd);
	} else {
		uv_tcp_init(lane->loop, &l->h.tcp);
		rc = uv_tcp_open(&l->h.tcp, fd);
	}
	l->h.handle.data = lane;
	if (rc == 0)
		rc = uv_listen(&l->h.stream, BACKLOG, on_connection);
	if (rc < 0) {
		int keep = fcntl(fd, F_DUPFD_CLOEXEC, 0);

		/* Closing the handle closes its fd, which stays the caller's:
		 * put it back under its number. */
		l->server = NULL;
		uv_close(&l->h.handle, on_listener_closed);
		if (keep >= 0) {
			dup3(keep, fd, O_CLOEXEC);
			close(keep);
		}
		return err_sys(err, -rc, "listening");
	}
	list_push_back(&lane->servers, &s->link);
	return 0;
}

static void set_peer(struct conn *c)
{
	struct sockaddr_storage addr;
	int len = sizeof addr, port = 0;
	char ip[INET6_ADDRSTRLEN] = "unknown";

	if (c->unix_socket) {
		memcpy(c->peer, "unix", 4);
		c->peer_n = 4;
		c->loopback = true;
		return;
	}
	if (uv_tcp_getpeername(&c->h.tcp, (struct sockaddr *)&addr, &len) < 0)
		addr.ss_family = AF_UNSPEC;
	if (addr.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)&addr;

		inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
		port = ntohs(in->sin_port);
		c->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
	} else if (addr.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)&addr;

		inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
		port = ntohs(in6->sin6_port);
		c->loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	}
	c->ip_n = (uint8_t)strlen(ip);
	c->peer_n =
		(uint8_t)snprintf(c->peer, sizeof c->peer, "%s:%d", ip, port);
}

static void refuse_full(struct conn *c)
{
	static const char body[] =
		"{\"error\":{\"code\":\"overloaded\",\"message\":"
		"\"too many connections\",\"request_id\":\"%.*s\"}}\n";
	char text[512], json[256];
	uv_buf_t iov;
	struct arena mem;
	struct str id;
	int n;

	arena_init(&mem);
	id = lane__new_id(c->lane, &mem);
	snprintf(json, sizeof json, body, (int)id.n, id.p);
	n = snprintf(text, sizeof text,
		     "HTTP/1.1 503 Service Unavailable\r\n"
		     "Content-Type: application/json\r\n"
		     "Content-Length: %zu\r\nDate: %s\r\n"
		     "X-Request-Id: %.*s\r\nRetry-After: 1\r\n"
		     "Connection: close\r\n\r\n%s",
		     strlen(json), lane__date(c->lane), (int)id.n, id.p, json);
	arena_fini(&mem);
	iov = uv_buf_init(text, (unsigned)n);
	uv_try_write(&c->h.stream, &iov, 1);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct listener *l = CONTAINER_OF(stream, struct listener, h);
	struct http_server *s = l->server;
	struct lane *lane = s->lane;
	struct conn *c;

	if (status < 0)
		return; /* out of files: libuv tries again */
	c = lane__get_conn(lane);
	c->server = s;
	c->lane = lane;
	c->unix_socket = l->unix_socket;
	if (l->unix_socket)
		uv_pipe_init(lane->loop, &c->h.pipe, 0);
	else
		uv_tcp_init(lane->loop, &c->h.tcp);
	s->n_conns++;
	lane->n_conns++;
	lane__watch(lane);
	if (uv_accept(stream, &c->h.stream) < 0) {
		c->cut = true;
	} else {
		lane->n_accepted++;
		set_peer(c);
		if (!l->unix_socket)
			uv_tcp_nodelay(&c->h.tcp, 1);
	}
	conn__open(c);
	if (c->cut) {
		conn__close(c);
	} else if (s->n_conns - s->n_inner > s->opts.limits->max_connections) {
		refuse_full(c);
		conn__shut(c);
	}
}

int http_server_adopt(struct http_server *s, int fd)
{
	struct lane *lane = s->lane;
	struct conn *c;

	if (server__ends(s)) {
		close(fd);
		return E_UNAVAILABLE;
	}
	c = lane__get_conn(lane);
	c->server = s;
	c->lane = lane;
	c->unix_socket = c->inner = true;
	uv_pipe_init(lane->loop, &c->h.pipe, 0);
	s->n_conns++;
	s->n_inner++;
	lane->n_conns++;
	lane__watch(lane);
	if (uv_pipe_open(&c->h.pipe, fd) < 0) {
		close(fd);
		c->cut = true;
	}
	set_peer(c);
	conn__open(c);
	if (c->cut)
		conn__close(c);
	return 0;
}

static void close_idle(struct http_server *s)
{
	struct list *it, *tmp;

	LIST_EACH (&s->idle, it, tmp)
		conn__close(LIST_ENTRY(it, struct conn, link));
}

void http_server_drain(struct http_server *s,
		       void (*on_server_closed)(struct http_server *))
{
	struct listener *l = s->impl;

	assert(!s->draining);
	s->draining = true;
	s->on_closed = on_server_closed;
	if (!s->leaving)
		uv_close(&l->h.handle, on_listener_closed);
	close_idle(s);
	park__end_all(s);
}

struct http_req *
http_server_find(struct http_server *s,
		 bool (*is)(const struct http_req *req, void *data), void *data)
{
	struct list *it, *tmp;

	LIST_EACH (&s->conns, it, tmp) {
		struct request *r = LIST_ENTRY(it, struct conn, link)->req;

		if (r && r->handed && !r->over && is(&r->pub, data))
			return &r->pub;
	}
	return NULL;
}

void http_server_leave(struct http_server *s,
		       void (*on_server_closed)(struct http_server *))
{
	struct listener *l = s->impl;

	assert(!s->draining && !s->leaving);
	s->leaving = true;
	s->on_closed = on_server_closed;
	uv_close(&l->h.handle, on_listener_closed);
}

bool server__ends(const struct http_server *s)
{
	return s->draining || s->leaving;
}

void http_server_cut(struct http_server *s)
{
	struct list *it, *tmp;

	close_idle(s);
	LIST_EACH (&s->conns, it, tmp) {
		struct conn *c = LIST_ENTRY(it, struct conn, link);

		c->cut = true;
		conn__ripe(c);
	}
}

static void on_listener_closed(uv_handle_t *h)
{
	struct listener *l = CONTAINER_OF(h, struct listener, h);
	struct http_server *s = l->server;

	if (!s) {
		free(l);
		return;
	}
	free(l);
	s->impl = NULL;
	maybe_closed(s);
}

void server__conn_closed(struct http_server *s)
{
	s->n_conns--;
	maybe_closed(s);
}

static void maybe_closed(struct http_server *s)
{
	if (!server__ends(s) || s->n_conns || s->impl)
		return;
	list_remove(&s->link);
	if (s->on_closed)
		s->on_closed(s);
}
