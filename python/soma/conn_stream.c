/* Connections whose answer comes in pieces (stream.c).
 *
 *   WAITING ──begin──▶ STREAMING ──end──▶ as after any other answer
 */
#include "worker.h"

#include <errno.h>
#include <sys/socket.h>

size_t conn_pending(const struct conn *c)
{
	return c->out.len - c->out_sent;
}

bool conn_stream_begin(struct conn *c, const struct reply *a,
		       struct buf *ret_head)
{
	struct request *r = c->request;
	bool chunked = c->parser.http_major == 1 && c->parser.http_minor > 0 &&
		       a->status != 204 && a->status != 304;
	struct reply with = *a;
	struct buf headers;

	c->state = CONN_STREAMING;
	c->keep = chunked && r->keep_alive && !c->eof &&
		  worker.state == WORKER_SERVING;
	buf_init(&headers, SIZE_MAX / 4);
	if (chunked)
		buf_adds(&headers, "transfer-encoding: chunked\r\n");
	buf_add(&headers, a->headers.p, a->headers.n);
	with.headers = (struct str){headers.data, headers.len};
	conn__head(c, &with, true, ret_head);
	buf_fini(&headers);
	return chunked;
}

void conn_stream_push(struct conn *c, struct str bytes)
{
	ssize_t n = 0;

	if (!conn_pending(c)) {
		do {
			n = send(c->fd, bytes.p, bytes.n,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		} while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN) {
			conn_close(c);
			return;
		}
		if (n == (ssize_t)bytes.n)
			return;
		n = MAX(n, 0);
	}
	/* What has left goes before more comes, or the buffer would grow
	 * behind a client that is always a little late. */
	if (c->out_sent > c->out.len / 2) {
		buf_drop(&c->out, c->out_sent);
		c->out_sent = 0;
	}
	buf_add(&c->out, bytes.p + n, bytes.n - (size_t)n);
	conn__watch(c);
}

void conn_stream_end(struct conn *c, bool whole)
{
	struct request *r = c->request;

	c->keep = c->keep && whole;
	c->request = NULL;
	r->conn = NULL; /* whoever runs it frees it */
	if (conn_pending(c))
		c->state = CONN_WRITING;
	else
		conn__written(c);
	conn__go_on(c);
}
