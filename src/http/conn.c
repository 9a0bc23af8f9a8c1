#include <sys/socket.h>

#include "http/internal.h"

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_flushed(struct out *o, int status);
static void on_closed(uv_handle_t *h);
static void closed(struct conn *c);

/* Which states may follow which. */
static const uint16_t moves[] = {
	[CONN_IDLE] = 1 << CONN_HEAD | 1 << CONN_LINGER | 1 << CONN_CLOSING,
	[CONN_HEAD] = 1 << CONN_BODY | 1 << CONN_WAIT | 1 << CONN_CLOSING,
	[CONN_BODY] = 1 << CONN_WAIT | 1 << CONN_DRAIN | 1 << CONN_LINGER |
		      1 << CONN_CLOSING,
	[CONN_WAIT] = 1 << CONN_IDLE | 1 << CONN_TUNNEL | 1 << CONN_LINGER |
		      1 << CONN_CLOSING,
	[CONN_DRAIN] = 1 << CONN_WAIT | 1 << CONN_LINGER | 1 << CONN_CLOSING,
	[CONN_TUNNEL] = 1 << CONN_CLOSING,
	[CONN_LINGER] = 1 << CONN_CLOSING,
	[CONN_CLOSING] = 0,
};

static void move(struct conn *c, enum conn_state to)
{
	struct list *home =
		to == CONN_IDLE ? &c->server->idle : &c->server->conns;

	assert(moves[c->state] & 1 << to);
	/* An idle connection goes to the end: the list is by age. */
	if (c->state == CONN_IDLE || to == CONN_IDLE) {
		list_remove(&c->link);
		list_push_back(home, &c->link);
	}
	c->state = (uint8_t)to;
	c->stamp_ms = uv_now(c->lane->loop);
}

/* The handle is open and accepted. */
void conn__open(struct conn *c)
{
	c->h.handle.data = c->lane;
	c->state = CONN_IDLE;
	c->stamp_ms = uv_now(c->lane->loop);
	list_init(&c->ripe);
	list_push_back(&c->server->idle, &c->link);
	buf_init(&c->hold, READ_AHEAD + 2 * (size_t)LANE_READ_SIZE);
	out__init(&c->out, &c->h.stream, on_flushed);
	c->reading = uv_read_start(&c->h.stream, lane__alloc, on_read) == 0;
	if (!c->reading)
		conn__close(c);
}

/* Refusals */

/* Bad framing: nobody knows where the next request would begin, so there is
 * none. */
void conn__refuse(struct conn *c, unsigned status)
{
	c->refused = true;
	c->lane->n_bad_requests++;
	buf_fini(&c->hold);
	c->hold_at = 0;
	if (c->state == CONN_HEAD)
		move(c, CONN_WAIT);
	c->req->keep_alive = false;
	reply__refuse(c->req, status);
	conn__ripe(c);
}

void conn__fault(struct conn *c, unsigned status)
{
	struct request *r = c->req;

	c->refused = true;
	if (r->faulted || c->state == CONN_CLOSING)
		return;
	r->faulted = true;
	r->mode = BODY_NONE;
	proxy__leave(r);
	if (r->pub.status == 0) {
		r->keep_alive = false;
		reply__refuse(r, status);
	} else if (!r->answered) {
		c->cut = true;
	}
	conn__ripe(c);
}

/* What comes in */

/* Whether bytes that come now would be used now. */
bool conn__consumes(const struct conn *c)
{
	if (c->cut || c->lost)
		return false;
	switch ((enum conn_state)c->state) {
	case CONN_IDLE:
	case CONN_HEAD:
	case CONN_DRAIN:
	case CONN_LINGER:
		return true;
	case CONN_BODY:
		return !c->refused && request__wants_body(c->req);
	case CONN_TUNNEL:
		return tunnel__wants(c->req);
	case CONN_WAIT:
	case CONN_CLOSING:
		break;
	}
	return false;
}

static size_t take_head(struct conn *c, const char *p, size_t n)
{
	const struct http_limits *limits = c->server->opts.limits;
	struct head_max max = {limits->request_line_bytes, limits->header_bytes,
			       limits->header_count};
	struct request *r = c->req;
	size_t used = n;
	unsigned status;

	switch (message_head(&r->in, &r->mem, &max, p, n, &used)) {
	case MESSAGE_MORE:
		return n;
	case MESSAGE_REFUSED:
		conn__refuse(c, r->in.refuse);
		return n;
	default:
		break;
	}
	status = request__ready(r);
	if (status) {
		conn__refuse(c, status);
		return n;
	}
	move(c, r->in.complete ? CONN_WAIT : CONN_BODY);
	r->handed = true;
	c->server->opts.on_request(&r->pub, c->server->opts.data);
	return used;
}

static size_t take_body(struct conn *c, const char *p, size_t n)
{
	struct request *r = c->req;
	size_t used = request__feed(r, p, n);

	c->stamp_ms = uv_now(c->lane->loop);
	if (r->in.refuse) {
		if (c->state == CONN_DRAIN)
			c->cut = true;
		else
			conn__fault(c, r->in.refuse);
		return n;
	}
	if (r->in.complete && c->state != CONN_WAIT)
		move(c, CONN_WAIT);
	return used;
}

/* Feeds what is wanted; returns how much that was. */
static size_t take(struct conn *c, const char *p, size_t n)
{
	size_t used = 0;

	while (used < n && conn__consumes(c)) {
		const char *at = p + used;
		size_t left = n - used;

		switch ((enum conn_state)c->state) {
		case CONN_IDLE:
			c->req = request__begin(c);
			move(c, CONN_HEAD);
			break;
		case CONN_HEAD:
			used += take_head(c, at, left);
			break;
		case CONN_BODY:
		case CONN_DRAIN:
			used += take_body(c, at, left);
			break;
		case CONN_TUNNEL:
			used += tunnel__from_client(c->req, at, left);
			break;
		default:
			return n; /* dropped */
		}
	}
	return c->refused ? n : used;
}

static bool take_held(struct conn *c)
{
	size_t left = c->hold.len - c->hold_at, used;
	struct buf held = c->hold;

	if (!conn__consumes(c))
		return false;
	if (left == 0) {
		/* A pause at the last byte: only the end is still to come. */
		if (c->state != CONN_BODY || !message_stalled(&c->req->in))
			return false;
		take_body(c, "", 0);
		return true;
	}
	/* Nothing may move the bytes while they are parsed. */
	c->hold = (struct buf){.max = held.max};
	used = take(c, held.data + c->hold_at, left);
	assert(c->hold.len == 0);
	c->hold = held;
	c->hold_at += used;
	if (used == left) {
		buf_fini(&c->hold);
		c->hold_at = 0;
	}
	return used > 0;
}

static void keep_for_later(struct conn *c, const char *p, size_t n)
{
	if (c->hold_at > 0) {
		buf_drop(&c->hold, c->hold_at);
		c->hold_at = 0;
	}
	/* Bounded by READ_AHEAD and what one turn of the loop reads. */
	if (buf_add(&c->hold, p, n))
		c->cut = true;
}

static void at_eof(struct conn *c)
{
	c->reading = false;
	c->eof = true;
	if (c->state == CONN_TUNNEL)
		tunnel__step(c->req);
	else
		c->lost = true;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = CONTAINER_OF(stream, struct conn, h);
	struct lane *lane = c->lane;
	size_t used = 0;

	if (n == 0 || c->state == CONN_CLOSING)
		return;
	if (n == UV_EOF) {
		at_eof(c);
	} else if (n < 0) {
		c->lost = true;
	} else {
		if (c->hold.len == 0)
			used = take(c, buf->base, (size_t)n);
		if (used < (size_t)n && !c->refused)
			keep_for_later(c, buf->base + used, (size_t)n - used);
	}
	conn__step(c);
	lane__run(lane);
}

static void on_flushed(struct out *o, int status)
{
	struct conn *c = CONTAINER_OF(o, struct conn, out);
	struct lane *lane = c->lane;
	struct request *r = c->req;

	if (status < 0) {
		c->lost = true;
	} else if (r && !r->over) {
		proxy__client_flushed(r);
		if (r->want_drain && r->on_drain && !r->answered) {
			r->want_drain = false;
			r->on_drain(&r->pub);
		}
	}
	conn__step(c);
	lane__run(lane);
}

/* Ends */

static void tell_over(struct conn *c, bool gone)
{
	struct request *r = c->req;

	if (!r || r->over)
		return;
	r->over = true;
	proxy__over(r, gone);
	if (!r->handed)
		return;
	r->pub.gone = gone || r->faulted;
	r->pub.end_ns = uv_hrtime();
	if (c->server->opts.on_log && !r->pub.quiet)
		c->server->opts.on_log(&r->pub, c->server->opts.data);
	if (r->pub.on_over)
		r->pub.on_over(&r->pub);
}

static void drop_request(struct conn *c)
{
	if (c->req)
		request__end(mem_take(&c->req));
}

void conn__close(struct conn *c)
{
	if (c->state == CONN_CLOSING)
		return;
	park__take(c);
	tell_over(c, true);
	drop_request(c);
	buf_fini(&c->hold);
	list_remove(&c->ripe);
	if (c->reset) {
		struct linger now = {1, 0};
		uv_os_fd_t fd;

		if (uv_fileno(&c->h.handle, &fd) == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	}
	move(c, CONN_CLOSING);
	list_remove(&c->link);
	if (c->parked)
		closed(c);
	else if (c->lost)
		lane__close_later(c->lane, c);
	else
		conn__close_socket(c);
}

void conn__close_socket(struct conn *c)
{
	uv_close(&c->h.handle, on_closed);
}

static void closed(struct conn *c)
{
	struct http_server *s = c->server;
	struct lane *lane = c->lane;

	lane->n_conns--;
	s->n_parked -= c->parked;
	s->n_inner -= c->inner;
	lane__put_conn(lane, c);
	server__conn_closed(s);
}

static void on_closed(uv_handle_t *h)
{
	struct conn *c = CONTAINER_OF(h, struct conn, h);
	struct lane *lane = c->lane;

	closed(c);
	lane__run(lane);
}

/* Our side ends, and the client gets time to read why: closing now would send
 * a reset for what it is still sending, and take the answer with it. */
static void linger(struct conn *c)
{
	uv_os_fd_t fd;

	drop_request(c);
	buf_fini(&c->hold);
	c->hold_at = 0;
	c->refused = true;
	if (uv_fileno(&c->h.handle, &fd) == 0)
		shutdown(fd, SHUT_WR);
	move(c, CONN_LINGER);
}

void conn__shut(struct conn *c)
{
	if (c->state == CONN_IDLE)
		linger(c);
}

void conn__to_tunnel(struct conn *c)
{
	move(c, CONN_TUNNEL);
}

bool conn__has_held(const struct conn *c)
{
	return c->state == CONN_BODY && c->hold.len > c->hold_at;
}

static bool small_rest(const struct request *r)
{
	const struct message *in = &r->in;

	return !r->expects && !in->head.chunked &&
	       (uint64_t)in->head.content_length - in->body_bytes <= DRAIN_MAX;
}

/* All of the answer was taken by the kernel. */
static void answer_is_out(struct conn *c)
{
	struct request *r = c->req;
	bool whole = r->in.complete;

	tell_over(c, false);
	/* The handler of on_over may have asked for a drain. */
	if (!c->refused && !whole && r->keep_alive && small_rest(r) &&
	    !server__ends(c->server)) {
		r->mode = BODY_DROP;
		move(c, CONN_DRAIN);
	} else if (c->state == CONN_TUNNEL) {
		conn__close(c);
	} else if (c->refused || !whole || c->hold.len > 0) {
		if (r->keep_alive && whole && !c->refused &&
		    !c->server->draining) {
			drop_request(c);
			move(c, CONN_IDLE);
		} else {
			linger(c);
		}
	} else if (!r->keep_alive && !c->server->leaving) {
		conn__close(c);
	} else if (!r->keep_alive) {
		linger(c); /* it did not know when it sent this one */
	} else if (c->server->draining) {
		linger(c); /* its next request may be on its way */
	} else {
		drop_request(c);
		move(c, CONN_IDLE);
	}
}

static void set_reading(struct conn *c)
{
	bool want;

	if (c->state == CONN_CLOSING || c->eof)
		return;
	if (conn__consumes(c))
		want = true;
	else if (c->state == CONN_BODY)
		want = c->hold.len - c->hold_at < READ_AHEAD;
	else if (c->state == CONN_TUNNEL)
		want = false;
	else
		want = c->hold.len == 0; /* to see the client leave */
	if (want == c->reading)
		return;
	if (want)
		want = uv_read_start(&c->h.stream, lane__alloc, on_read) == 0;
	else
		uv_read_stop(&c->h.stream);
	c->reading = want;
}

/* Does whatever can be done now. Only ever called at the top. */
void conn__step(struct conn *c)
{
	struct request *r;
	bool again = true;

	while (again && c->state != CONN_CLOSING) {
		r = c->req;
		again = false;
		if (c->cut || c->lost) {
			conn__close(c);
			return;
		}
		if (r && !r->over && c->state != CONN_HEAD) {
			request__step(r);
			if (c->req == r)
				proxy__step(r);
			if (c->cut || c->lost || c->req != r) {
				again = true;
			} else if (r->answered && c->parked) {
				c->cut = again = true;
			} else if (r->answered && c->out.pending == 0) {
				answer_is_out(c);
				again = true;
			} else {
				again = take_held(c);
			}
		} else if (c->state == CONN_WAIT && r && r->over) {
			/* A drain has come to its end. */
			if (c->server->draining) {
				linger(c);
			} else {
				drop_request(c);
				move(c, CONN_IDLE);
			}
			again = true;
		} else {
			again = take_held(c);
		}
		if (c->state == CONN_IDLE && c->server->draining &&
		    c->hold.len == 0) {
			conn__close(c);
			return;
		}
	}
	set_reading(c);
}
