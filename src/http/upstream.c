#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "http/internal.h"

static void on_connect(uv_connect_t *connect, int status);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_flushed(struct out *o, int status);
static void on_link_closed(uv_handle_t *h);

int http_upstream_init(struct http_upstream *up, struct lane *lane,
		       const char *path, int port, struct err *err)
{
	*up = (struct http_upstream){
		.lane = lane, .max_idle = 64, .idle_ms = 60 * 1000};
	if (path) {
		struct sockaddr_un *un = (void *)&up->addr;

		if (strlen(path) >= sizeof un->sun_path)
			return err_set(err, E_INVALID,
				       "socket path '%s' is longer than %zu",
				       path, sizeof un->sun_path - 1);
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, path, strlen(path) + 1);
		up->addr_len = sizeof *un;
	} else {
		struct sockaddr_in *in = (void *)&up->addr;

		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		up->addr_len = sizeof *in;
	}
	list_init(&up->idle);
	list_init(&up->busy);
	list_init(&up->probes);
	list_push_back(&lane->upstreams, &up->link);
	return 0;
}

/* Connecting */

/* Opens h towards up. A Unix socket is connected or refused at once, so it is
 * done without a turn of the loop; TCP goes through `request`. On an error h is
 * not to be closed. */
int upstream__socket(struct http_upstream *up, union http_handle *h,
		     uv_connect_t *request, uv_connect_cb cb,
		     bool *ret_connecting)
{
	const struct sockaddr *addr = (const void *)&up->addr;
	uv_loop_t *loop = up->lane->loop;
	bool is_unix = up->addr.ss_family == AF_UNIX;
	int rc, fd;

	fd = socket(up->addr.ss_family,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (is_unix && connect(fd, addr, up->addr_len) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	if (is_unix) {
		uv_pipe_init(loop, &h->pipe, 0);
		rc = uv_pipe_open(&h->pipe, fd);
	} else {
		uv_tcp_init(loop, &h->tcp);
		rc = uv_tcp_open(&h->tcp, fd);
	}
	assert(rc == 0); /* a fresh socket of the right kind */
	*ret_connecting = !is_unix;
	if (is_unix)
		return 0;
	uv_tcp_nodelay(&h->tcp, 1);
	rc = uv_tcp_connect(request, &h->tcp, addr, cb);
	assert(rc == 0); /* errors of connect itself come by the callback */
	return 0;
}

static void close_link(struct link *l)
{
	if (l->closing)
		return;
	l->closing = true;
	l->req = NULL;
	list_remove(&l->node);
	message_fini(&l->in);
	uv_close(&l->h.handle, on_link_closed);
}

/* A probe's or a link's. */
void upstream__handle_closed(struct http_upstream *up)
{
	up->lane->n_links--;
	if (--up->n_open == 0 && up->closing) {
		list_remove(&up->link);
		up->on_closed(up);
	}
}

static void on_link_closed(uv_handle_t *h)
{
	struct link *l = CONTAINER_OF(h, struct link, h);
	struct http_upstream *up = l->up;
	struct lane *lane = up->lane;

	lane__put_link(lane, l);
	upstream__handle_closed(up);
	lane__run(lane);
}

int upstream__get(struct http_upstream *up, struct request *r, bool fresh,
		  struct link **ret_link)
{
	struct lane *lane = up->lane;
	struct link *l;
	int rc;

	if (up->closing)
		return UV_ECANCELED;
	if (!fresh && !list_empty(&up->idle)) {
		l = LIST_ENTRY(up->idle.next, struct link, node);
		list_remove(&l->node);
		up->n_idle--;
		l->reused = true;
	} else {
		l = lane__get_link(lane);
		rc = upstream__socket(up, &l->h, &l->connect, on_connect,
				      &l->connecting);
		if (rc < 0) {
			lane__put_link(lane, l);
			return rc;
		}
		l->h.handle.data = lane;
		l->up = up;
		up->n_open++;
		lane->n_links++;
		lane__watch(lane);
		out__init(&l->out, &l->h.stream, on_flushed);
		if (!l->connecting)
			upstream__read(l, true);
	}
	l->req = r;
	l->interim = 0;
	message_init(&l->in, MESSAGE_RESPONSE);
	list_push_front(&up->busy, &l->node);
	up->n_busy++;
	*ret_link = l;
	return 0;
}

void upstream__put(struct link *l, bool reusable)
{
	struct http_upstream *up = l->up;

	up->n_busy--;
	list_remove(&l->node);
	l->req = NULL;
	message_fini(&l->in);
	buf_fini(&l->held);
	if (!reusable || l->eof || l->connecting || l->out.pending ||
	    up->closing || up->n_idle >= up->max_idle) {
		close_link(l);
		return;
	}
	l->idle_since = uv_now(up->lane->loop);
	list_push_front(&up->idle, &l->node);
	up->n_idle++;
	upstream__read(l, true); /* to see it end */
}

void upstream__read(struct link *l, bool on)
{
	if (on == l->reading || l->closing || l->eof)
		return;
	if (on)
		uv_read_start(&l->h.stream, lane__alloc, on_read);
	else
		uv_read_stop(&l->h.stream);
	l->reading = on;
}

static void on_connect(uv_connect_t *connect, int status)
{
	struct link *l = CONTAINER_OF(connect, struct link, connect);

	if (l->closing)
		return;
	l->connecting = false;
	if (status == 0)
		upstream__read(l, true);
	proxy__connected(l->req, status);
	lane__run(l->up->lane);
}

static void close_idle(struct link *l)
{
	l->up->n_idle--;
	close_link(l);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct link *l = CONTAINER_OF(stream, struct link, h);
	struct lane *lane = l->up->lane;

	if (n == 0 || l->closing)
		return;
	if (n < 0) {
		l->reading = false;
		l->eof = true;
	}
	if (!l->req)
		close_idle(l); /* its end, or an answer nobody asked for */
	else if (n < 0)
		answer__eof(l, (int)n);
	else
		answer__feed(l, buf->base, (size_t)n);
	lane__run(lane);
}

/* The upstream takes bytes again: so may the client's side. */
static void on_flushed(struct out *o, int status)
{
	struct link *l = CONTAINER_OF(o, struct link, out);

	if (!l->req)
		return;
	if (status < 0)
		l->req->proxy.broken = true;
	conn__ripe(l->req->conn);
	lane__run(l->up->lane);
}

void upstream__sweep(struct http_upstream *up, uint64_t now)
{
	while (up->idle_ms && !list_empty(&up->idle)) {
		struct link *l = LIST_ENTRY(up->idle.prev, struct link, node);

		if (now - l->idle_since < up->idle_ms)
			break;
		close_idle(l);
	}
	probe__sweep(up, now);
}

/* The end */

static void on_nothing_closed(uv_handle_t *h)
{
	struct http_upstream *up = h->data;
	struct lane *lane = up->lane;

	free(h);
	upstream__handle_closed(up);
	lane__run(lane);
}

void http_upstream_close(struct http_upstream *up,
			 void (*on_closed)(struct http_upstream *))
{
	uv_idle_t *later = mem_alloc(sizeof *later);

	assert(!up->closing);
	up->closing = true;
	up->on_closed = on_closed;
	/* Counts as one that is open until the loop's next turn, so that
	 * on_closed never comes before we return. */
	uv_idle_init(up->lane->loop, later);
	later->data = up;
	up->n_open++;
	up->lane->n_links++;
	uv_close((uv_handle_t *)later, on_nothing_closed);
	while (!list_empty(&up->idle))
		close_idle(LIST_ENTRY(up->idle.next, struct link, node));
	while (!list_empty(&up->busy)) {
		struct link *l = LIST_ENTRY(up->busy.next, struct link, node);

		proxy__fail(l->req, PROXY_DIED);
	}
	proxy__fail_waiting(up->lane, up);
	probe__close_all(up);
}
