#include "serve/gate.h"

#include <assert.h>
#include <stdio.h>

#include "http/proxy.h"
#include "loop/log.h"
#include "policy/balance.h"
#include "serve/api.h"
#include "serve/replica.h"
#include "serve/serve.h"

enum {
	TRIES_MAX = 5,	 /* replicas that may die under one request */
	HOLD_MS = 20,	 /* a replica that refused a connection rests */
	MOURN_MS = 2000, /* how long to wait for the cause of a death */
	REPLICAS_MAX = 1024,
};

/*
 * A request's way, one struct in its arena:
 *
 *   accept -> QUEUED <-> SENT -> answered by the replica
 *               |          |  \-> MOURNING -> 502 with the cause
 *               +- timeout +----> 503, 504
 */
enum waiter_state { QUEUED, SENT, MOURNING, ANSWERED };

struct waiter {
	struct list link;  /* in gate.requests, until answered */
	struct list queue; /* in gate.queue or replica.mourners */
	struct http_req *req;
	struct api *api;
	struct replica *replica; /* SENT: where */
	enum waiter_state state;
	struct str target;
	uint64_t deadline; /* uv_now; 0: none */
	uint64_t mourn_until;
	uint64_t sent_ns; /* uv_hrtime */
	uint32_t ahead;	  /* requests with the replica then, itself included */
	uint32_t tries;
	uint32_t skip_id; /* its last replica's index and number, plus one */
	bool placed;	  /* SENT: holds a place of the replica's room */
	bool reached;	  /* some replica may have begun to work on it */
};

void gate_init(struct gate *g)
{
	*g = (struct gate){0};
	list_init(&g->requests);
	list_init(&g->queue);
}

static void to_state(struct waiter *w, enum waiter_state state)
{
	if (w->state == QUEUED) {
		list_remove(&w->queue);
		w->api->gate.queued--;
	} else if (w->state == MOURNING) {
		list_remove(&w->queue);
	}
	w->state = state;
	if (state == ANSWERED)
		list_remove(&w->link);
}

static void fail(struct waiter *w, int code, unsigned status, const char *cause,
		 const char *text)
{
	struct api *a = w->api;

	to_state(w, ANSWERED);
	http_reply_error_full(w->req, code, status, a->name, cause, "%s", text);
}

struct revision *gate_serving(const struct api *a)
{
	return a->live ? a->live : a->want;
}

static uint32_t place_of(const struct replica *r)
{
	return (r->index << 8) + r->number + 1;
}

/* The replica for w, or NULL when none has room. */
static struct replica *pick(struct api *a, const struct waiter *w)
{
	struct revision *rev = gate_serving(a);
	uint64_t now = uv_now(a->serve->loop);
	static _Thread_local struct balance_item items[REPLICAS_MAX];
	static _Thread_local struct replica *replicas[REPLICAS_MAX];
	struct list *it, *tmp;
	size_t n = 0;
	int skip = -1, chosen;

	if (!rev)
		return NULL;
	LIST_EACH (&rev->replicas, it, tmp) {
		struct replica *r = LIST_ENTRY(it, struct replica, link);

		if (n == REPLICAS_MAX)
			break;
		if (w->skip_id == place_of(r))
			skip = (int)n;
		items[n].ready = replica_is_ready(r) && r->hold_until <= now;
		items[n].in_flight = r->placed - MIN(r->placed, r->released);
		items[n].room = r->room;
		replicas[n++] = r;
	}
	if (!n)
		return NULL;
	chosen = balance_pick(items, n, a->gate.last, skip);
	if (chosen < 0)
		return NULL;
	a->gate.last = (size_t)chosen;
	return replicas[chosen];
}

static bool ending(const struct api *a)
{
	return a->deleting || a->serve->stopping;
}

static void turn_away(struct waiter *w)
{
	http_reply_header(w->req, "Retry-After", "1");
	fail(w, E_UNAVAILABLE, 0, NULL,
	     w->api->serve->stopping ? "Soma is stopping"
				     : "the api is being deleted");
}

static void enqueue(struct waiter *w, bool front)
{
	struct gate *g = &w->api->gate;

	/* Nobody will come to take it. */
	if (ending(w->api)) {
		turn_away(w);
		return;
	}
	to_state(w, QUEUED);
	if (front)
		list_push_front(&g->queue, &w->queue);
	else
		list_push_back(&g->queue, &w->queue);
	g->queued++;
}

static bool idempotent(struct str method)
{
	static const char *const words[] = {"GET",    "HEAD",	 "PUT",
					    "DELETE", "OPTIONS", "TRACE"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(method, str_of(words[i])))
			return true;
	return false;
}

static bool may_repeat(const struct waiter *w)
{
	const struct revision *rev = gate_serving(w->api);
	const struct repeat_facts facts = {
		.idempotent_method = idempotent(w->req->method_name),
		.idempotency_key =
			http_req_header(w->req, "Idempotency-Key").n > 0,
		.retry_safe = rev && rev->spec->retry_safe,
		.body_kept = http_proxy_repeatable(w->req),
	};

	return repeat_allowed(&facts);
}

static void timed_out(struct waiter *w)
{
	struct api *a = w->api;
	struct revision *rev = gate_serving(a);
	uint32_t limit = rev ? rev->spec->request_timeout_ms : 0;
	char after[32];
	char *text;

	str_human_ms(limit, after);
	if (w->reached) {
		text = arena_printf(w->req->arena,
				    "no answer within %s (request_timeout)",
				    after);
		fail(w, E_TIMEOUT, 0, NULL, text);
		return;
	}
	http_reply_header(w->req, "Retry-After", "1");
	if (rev && revision_ready(rev) > 0)
		text = arena_printf(w->req->arena,
				    "no replica of '%s' had room within %s "
				    "(request_timeout)",
				    a->name, after);
	else
		text = arena_printf(w->req->arena,
				    "'%s' has no ready replica, waited %s "
				    "(request_timeout)%s%s",
				    a->name, after,
				    rev && rev->message ? ": " : "",
				    rev && rev->message ? rev->message : "");
	fail(w, E_UNAVAILABLE, 0, NULL, text);
}

/* cause NULL: it lives, only this connection ended. */
static void died(struct waiter *w, const char *cause)
{
	const char *name = w->api->name;
	char *text;

	if (!cause) {
		cause = "connection closed";
		text = arena_printf(w->req->arena,
				    "a replica of '%s' closed the connection "
				    "without an answer%s",
				    name,
				    w->tries
					    ? ", again and again"
					    : "; the request was not repeated");
	} else if (w->tries) {
		text = arena_printf(w->req->arena,
				    "%u replicas of '%s' died one after the "
				    "other while they had this request, the "
				    "last by %s; it is not sent to another",
				    w->tries, name, cause);
	} else {
		text = arena_printf(w->req->arena,
				    "a replica of '%s' died while it had this "
				    "request (%s); the request was not "
				    "repeated",
				    name, cause);
	}

	fail(w, E_UPSTREAM, 0, cause, text);
}

/* The replica broke off. Its exit, with the cause, is on its way. */
static void mourn(struct waiter *w, struct replica *r)
{
	uint64_t now = uv_now(w->api->serve->loop);

	if (r->process && r->process->state != PROCESS_EXITED) {
		to_state(w, MOURNING);
		w->mourn_until = now + MOURN_MS;
		list_push_back(&r->mourners, &w->queue);
		return;
	}
	died(w, r->last_exit);
}

/* Returns whether there was one to give back. */
static bool free_place(struct waiter *w)
{
	bool had = w->placed;

	w->placed = false;
	if (had)
		w->replica->placed--;
	return had;
}

static void on_head(struct http_req *req, unsigned status, bool stream,
		    void *data)
{
	struct waiter *w = data;

	(void)req;
	(void)status;
	replica_answered(w->replica, uv_hrtime() - w->sent_ns, w->ahead);
	/* Answered, as far as deadlines go: a stream may take its time. */
	list_remove(&w->link);
	/* A client that reads slowly holds its connection, not the place. */
	if (!stream && replica_frees_at_head(w->replica) && free_place(w))
		gate_flush(w->api);
}

static void on_proxy_end(struct http_req *req, enum http_proxy_end end,
			 void *data)
{
	struct waiter *w = data;
	struct replica *r = w->replica;
	struct api *a = w->api;
	bool got_room = free_place(w);

	(void)req;
	w->replica = NULL;
	r->in_flight--;
	switch (end) {
	case PROXY_DONE:
	case PROXY_GONE:
	case PROXY_CUT:
		to_state(w, ANSWERED);
		break;
	case PROXY_CANCELED:
		timed_out(w);
		break;
	case PROXY_NO_CONNECT:
		r->hold_until = uv_now(a->serve->loop) + HOLD_MS;
		w->skip_id = place_of(r);
		enqueue(w, true);
		break;
	case PROXY_NOT_BEGUN:
		r->hold_until = uv_now(a->serve->loop) + HOLD_MS;
		w->skip_id = place_of(r);
		if (http_proxy_repeatable(w->req))
			enqueue(w, true);
		else
			fail(w, E_UNAVAILABLE, 0, NULL,
			     "the replica that had this request is being "
			     "replaced, and its body is too large to be kept");
		break;
	case PROXY_DIED:
		w->skip_id = place_of(r);
		w->reached = true;
		if (may_repeat(w) && ++w->tries < TRIES_MAX)
			enqueue(w, true);
		else
			mourn(w, r);
		break;
	case PROXY_BAD_RESPONSE:
		w->reached = true;
		fail(w, E_UPSTREAM, 0, "bad response",
		     "the replica's answer was not HTTP");
		break;
	}
	replica_idle(r);
	if (got_room)
		gate_flush(a);
}

static void send_to(struct waiter *w, struct replica *r)
{
	const struct http_proxy_opts opts = {
		.target = w->target,
		.not_begun = STR("soma-not-begun"),
		.on_head = on_head,
		.on_end = on_proxy_end,
		.data = w,
	};

	to_state(w, SENT);
	w->replica = r;
	w->placed = true;
	w->ahead = ++r->placed;
	r->in_flight++;
	w->sent_ns = uv_hrtime();
	http_proxy(w->req, &r->up, &opts);
}

void gate_flush(struct api *a)
{
	struct gate *g = &a->gate;

	while (!list_empty(&g->queue)) {
		struct waiter *w =
			LIST_ENTRY(g->queue.next, struct waiter, queue);
		struct replica *r = pick(a, w);

		if (!r)
			return;
		send_to(w, r);
	}
}

static void on_over(struct http_req *req)
{
	struct waiter *w = req->user;
	struct api *a = w->api;

	assert(!w->replica);
	to_state(w, ANSWERED);
	a->gate.in_flight--;
	stats_add(&a->stats, req->gone && !req->status ? 0 : req->status,
		  (req->end_ns - req->start_ns) / 1000);
}

/* "/rest?query", in the arena. */
static struct str target_of(struct http_req *req, struct str rest)
{
	char *t;
	size_t n = 0;

	if (!rest.n)
		rest = STR("/");
	if (!req->query.n)
		return rest;
	t = arena_alloc(req->arena, rest.n + 1 + req->query.n);
	memcpy(t, rest.p, rest.n);
	n = rest.n;
	t[n++] = '?';
	memcpy(t + n, req->query.p, req->query.n);
	return (struct str){t, n + req->query.n};
}

void gate_accept(struct api *a, struct http_req *req, struct str rest)
{
	struct waiter *w = arena_zalloc(req->arena, sizeof *w);
	struct revision *rev = gate_serving(a);
	struct replica *r;
	uint32_t replicas;

	w->req = req;
	w->api = a;
	w->state = SENT; /* in no list yet */
	list_init(&w->queue);
	list_init(&w->link);
	req->user = w;
	req->on_over = on_over;
	a->gate.in_flight++;
	if (!rev || ending(a)) {
		turn_away(w);
		return;
	}
	replicas = rev->spec->scale.init_replicas;
	if (!balance_admit(a->gate.in_flight - 1, replicas,
			   rev->spec->scale.max_replica_concurrency)) {
		http_reply_header(req, "Retry-After", "1");
		fail(w, E_OVERLOAD, 0, NULL,
		     arena_printf(req->arena,
				  "'%s' has %u requests in flight, as many as "
				  "it takes (max_replica_concurrency)",
				  a->name, a->gate.in_flight - 1));
		return;
	}
	list_push_back(&a->gate.requests, &w->link);
	w->target = target_of(req, rest);
	if (rev->spec->request_timeout_ms)
		w->deadline =
			uv_now(a->serve->loop) + rev->spec->request_timeout_ms;
	/* Nobody overtakes who waits already. */
	r = list_empty(&a->gate.queue) ? pick(a, w) : NULL;
	if (r)
		send_to(w, r);
	else
		enqueue(w, false);
}

/* The first in the list whose time is over, or NULL. Deadlines are not in the
 * order of arrival: a new revision may have another timeout. */
static struct waiter *overdue(struct gate *g, uint64_t now)
{
	struct list *it, *tmp;

	LIST_EACH (&g->requests, it, tmp) {
		struct waiter *w = LIST_ENTRY(it, struct waiter, link);

		if (w->state == MOURNING && now >= w->mourn_until)
			return w;
		if (w->deadline && now >= w->deadline)
			return w;
	}
	return NULL;
}

void gate_tick(struct api *a, uint64_t now)
{
	struct waiter *w;

	/* Each turn takes one out of the list; others may go with it. */
	while ((w = overdue(&a->gate, now))) {
		if (w->state == MOURNING) {
			died(w, NULL);
		} else if (w->state == SENT) {
			/* Out of the list first: when its answer is already
			 * on its way the cancel has nothing to do. */
			list_remove(&w->link);
			w->reached = true;
			http_proxy_cancel(w->req);
		} else {
			timed_out(w);
		}
	}
	gate_flush(a);
}

void gate_on_exit(struct api *a, struct replica *r, const char *cause)
{
	(void)a;
	while (!list_empty(&r->mourners)) {
		struct waiter *w =
			LIST_ENTRY(r->mourners.next, struct waiter, queue);

		died(w, cause);
	}
}

void gate_end(struct api *a)
{
	while (!list_empty(&a->gate.queue))
		turn_away(LIST_ENTRY(a->gate.queue.next, struct waiter, queue));
}
