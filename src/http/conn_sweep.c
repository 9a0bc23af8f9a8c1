#include <poll.h>

#include "http/internal.h"

/* What a client connection may not do for too long. */

/* Reading is stopped, so nothing but a question tells that the client left. */
static bool left_unseen(struct conn *c)
{
	struct pollfd p = {.events = POLLRDHUP};
	uv_os_fd_t fd;

	if (c->reading || c->eof || uv_fileno(&c->h.handle, &fd) != 0)
		return false;
	p.fd = fd;
	return poll(&p, 1, 0) > 0 &&
	       p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static bool write_is_stuck(struct conn *c, uint64_t now)
{
	size_t queued;

	if (c->out.pending == 0) {
		c->write_ms = 0;
		return false;
	}
	queued = uv_stream_get_write_queue_size(&c->h.stream);
	if (c->write_ms == 0 || queued != c->queued_then) {
		c->write_ms = now;
		c->queued_then = queued;
	}
	return now - c->write_ms > c->server->opts.limits->write_timeout_ms;
}

/* Marks only: whoever has to be told is told by the step. */
void conn__sweep(struct conn *c, uint64_t now)
{
	const struct http_limits *limits = c->server->opts.limits;
	uint64_t waited = now - c->stamp_ms;
	struct request *r = c->req;

	switch ((enum conn_state)c->state) {
	case CONN_HEAD:
		if (waited > limits->header_timeout_ms)
			conn__refuse(c, 408);
		break;
	case CONN_BODY:
		if (left_unseen(c))
			c->lost = true;
		else if (!conn__consumes(c) || c->reading == false)
			c->stamp_ms = now; /* it's us who do not read */
		else if (waited > limits->body_timeout_ms)
			conn__fault(c, 408);
		break;
	case CONN_WAIT:
		if (left_unseen(c))
			c->lost = true;
		if (c->parked && waited > PARK_MS)
			c->cut = true;
		break;
	case CONN_DRAIN:
	case CONN_LINGER:
		if (waited > LINGER_MS)
			c->cut = true;
		break;
	case CONN_TUNNEL:
		/* Half closed, the other half must move or end. */
		if ((c->eof || !r->proxy.link || r->proxy.link->eof) &&
		    waited > limits->idle_timeout_ms)
			c->cut = true;
		break;
	case CONN_IDLE:
	case CONN_CLOSING:
		return;
	}
	if (c->state != CONN_LINGER && write_is_stuck(c, now))
		c->cut = true;
	if (c->cut || c->lost)
		conn__ripe(c);
}
