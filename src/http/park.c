/* park.c: a request that its handler wants to see through although its client
 * has left (pub.keep), for whoever asks for the same next. It goes on with a
 * connection without a socket:
 *
 *   client leaves      park__take        http_req_swap       another client
 *   ────────────▶ its request is PARKED ───────────────▶ has its answer
 *                         ╰─────▶ over, `gone`: nobody has come for PARK_MS,
 *                                 or its handler replied
 *
 * What an upstream has answered meanwhile is held, and no more of it is read.
 */
#include "http/internal.h"

bool http_req_may_swap(const struct http_req *req)
{
	const struct request *r = request__of(req);

	return req->keep && !req->status && r->in.complete && !r->early &&
	       !r->faulted && !r->over && r->proxy.state != PROXY_IS_LEFT &&
	       r->proxy.state != PROXY_IS_TUNNEL;
}

static bool may_park(const struct conn *c)
{
	return c->req && c->lost && !c->cut && !c->parked &&
	       c->state == CONN_WAIT && !c->server->draining &&
	       c->server->n_parked < PARKED_MAX &&
	       http_req_may_swap(&c->req->pub);
}

void park__take(struct conn *c)
{
	struct lane *lane = c->lane;
	struct conn *parked;
	struct request *r = c->req;

	if (!may_park(c))
		return;
	parked = lane__get_conn(lane);
	parked->parked = parked->eof = true;
	parked->state = CONN_WAIT;
	parked->stamp_ms = uv_now(lane->loop);
	parked->server = c->server;
	parked->lane = lane;
	parked->loopback = c->loopback;
	memcpy(parked->peer, c->peer, sizeof c->peer);
	parked->peer_n = c->peer_n;
	parked->ip_n = c->ip_n;
	list_init(&parked->ripe);
	list_push_back(&c->server->conns, &parked->link);
	c->server->n_conns++;
	c->server->n_parked++;
	lane->n_conns++;
	lane__watch(lane);
	parked->req = mem_take(&c->req);
	r->conn = parked;
	r->pub.peer.p = parked->peer;
	/* What was still to be done for it is done there. */
	conn__ripe(parked);
}

void park__hold(struct link *l, const char *p, size_t n)
{
	struct proxy *proxy = &l->req->proxy;

	buf_init(&l->held, LANE_READ_SIZE);
	buf_add(&l->held, p, n);
	upstream__read(l, false);
	if (proxy->on_held)
		proxy->on_held(&l->req->pub, proxy->data);
}

bool park__resume(struct request *r)
{
	struct link *l = r->proxy.link;
	struct buf held;

	if (!l || !l->held.len || r->conn->parked)
		return false;
	held = l->held;
	l->held = (struct buf){0};
	upstream__read(l, true);
	answer__feed(l, held.data, held.len);
	buf_fini(&held);
	return true;
}

void park__end_all(struct http_server *s)
{
	struct list *it, *tmp;

	LIST_EACH (&s->conns, it, tmp) {
		struct conn *c = LIST_ENTRY(it, struct conn, link);

		c->cut = c->cut || c->parked;
		if (c->parked)
			conn__ripe(c);
	}
}

static struct str copy(struct request *r, struct str s)
{
	return (struct str){arena_strndup(&r->mem, s.p, s.n), s.n};
}

bool http_req_swap(struct http_req *running, struct http_req *req)
{
	struct request *a = request__of(running), *b = request__of(req);
	struct conn *ca = a->conn, *cb = b->conn;
	struct http_req was = a->pub;
	bool keep_alive;

	assert(http_req_may_swap(running) && !req->status && b->in.complete &&
	       ca->server->opts.data == cb->server->opts.data);
	/* Who they are for, and how these are answered. */
	a->pub.id = copy(a, b->pub.id);
	b->pub.id = copy(b, was.id);
	a->pub.peer = b->pub.peer;
	b->pub.peer = was.peer;
	a->pub.loopback = b->pub.loopback;
	b->pub.loopback = was.loopback;
	a->pub.minor = b->pub.minor;
	b->pub.minor = was.minor;
	a->pub.server = cb->server;
	b->pub.server = ca->server;
	keep_alive = a->keep_alive;
	a->keep_alive = b->keep_alive;
	b->keep_alive = keep_alive;
	a->conn = cb;
	cb->req = a;
	b->conn = ca;
	ca->req = b;
	ca->cut = ca->cut || ca->parked;
	conn__ripe(ca);
	conn__ripe(cb);
	return !ca->cut;
}
