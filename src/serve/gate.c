#include "serve/gate.h"

#include <assert.h>
#include <stdio.h>

#include "http/proxy.h"
#include "loop/log.h"
#include "policy/balance.h"
#include "serve/gate_parts.h"
#include "serve/replica_parts.h"
#include "serve/serve.h"

enum {
	TRIES_MAX = 5,	 /* replicas that may die under one request */
	SUSPECT_MAX = 2, /* of ours, the second of which had nothing else */
	HOLD_MS = 20,	 /* a replica that refused a connection rests */
	MOURN_MS = 2000, /* how long to wait for the cause of a death */
};

void gate_init(struct gate *g)
{
	*g = (struct gate){0};
	for (int i = 0; i < PRIORITIES; i++)
		list_init(&g->queue[i]);
	list_init(&g->suspects);
	map_init(&g->calls);
}

void gate_fini(struct gate *g)
{
	heap_fini(&g->due);
	map_fini(&g->calls);
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
	if (state == ANSWERED) {
		w->req->keep = false;
		heap_remove(&w->api->gate.due, &w->due);
		gate__end_lease(w);
	}
}

void gate__answered(struct waiter *w)
{
	to_state(w, ANSWERED);
}

void gate__fail(struct waiter *w, int code, const char *cause, const char *text)
{
	to_state(w, ANSWERED);
	gate__timing(w);
	http_reply_error_full(w->req, code, 0, w->api->name, cause, "%s", text);
}

void gate__fail_with(struct waiter *w, int code, const char *more,
		     const char *text)
{
	to_state(w, ANSWERED);
	gate__timing(w);
	http_reply_error_with(w->req, code, w->api->name, more, "%s", text);
}

struct revision *gate_serving(const struct api *a)
{
	return a->live ? a->live : a->want;
}

static bool ending(const struct api *a)
{
	return a->deleting || a->serve->stopping;
}

/* Another daemon has the replicas now: it waits there, for what is left of its
 * time. */
static void pass_on(struct waiter *w)
{
	struct serve *s = w->api->serve;
	uint64_t now = uv_now(s->loop), due = w->due.at ? w->due.key : 0;

	to_state(w, ANSWERED);
	s->pass_on(s, w->req, !due ? -1 : due > now ? (int64_t)(due - now) : 1);
}

static void enqueue(struct waiter *w, bool front)
{
	struct gate *g = &w->api->gate;

	/* Nobody will come to take it. */
	if (ending(w->api)) {
		gate__turn_away(w);
		return;
	}
	if (w->api->serve->yielded) {
		pass_on(w);
		return;
	}
	to_state(w, QUEUED);
	w->stage = STAGE_QUEUE;
	if (w->suspect)
		list_push_back(&g->suspects, &w->queue);
	else if (front)
		list_push_front(&g->queue[w->priority], &w->queue);
	else
		list_push_back(&g->queue[w->priority], &w->queue);
	g->queued++;
	scale_on_wait(w->api);
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
		.idempotency_key = w->key.n > 0 && !w->aws_key,
		.retry_safe = rev && rev->spec->retry_safe,
		.body_kept = http_proxy_repeatable(w->req),
	};

	/* A copy for a shadow is not worth it. */
	return !w->req->inner && repeat_allowed(&facts);
}

/* The replica broke off. Its exit, with the cause, is on its way. */
static void mourn(struct waiter *w, struct replica *r)
{
	uint64_t now = uv_now(w->api->serve->loop);

	/* Who has yielded does not hear of it. */
	if (r->process && r->process->state != PROCESS_EXITED &&
	    !w->api->serve->yielded) {
		to_state(w, MOURNING);
		if (!w->due.at || now + MOURN_MS < w->due.key)
			heap_put(&w->api->gate.due, &w->due, now + MOURN_MS);
		list_push_back(&r->mourners, &w->queue);
		return;
	}
	gate__died(w, r->last_exit);
}

/* Others may be with the replica again. Returns whether that is new. */
static bool stop_alone(struct waiter *w)
{
	bool was = w->alone;

	w->alone = false;
	if (was)
		w->replica->alone = false;
	return was;
}

/* Returns whether there was one to give back. over_ns: when it was answered;
 * 0: it was not. */
static bool free_place(struct waiter *w, uint64_t over_ns)
{
	bool had = w->placed;

	w->placed = false;
	if (!had)
		return false;
	w->replica->placed--;
	if (over_ns && w->replica->state != REPLICA_GONE)
		replica_held(w->replica, over_ns - w->sent_ns, w->ahead);
	return true;
}

static void on_head(struct http_req *req, unsigned status, bool stream,
		    void *data)
{
	struct waiter *w = data;
	uint64_t now = uv_hrtime();
	bool room = stop_alone(w);

	(void)req;
	(void)status;
	if (!w->held)
		replica_answered(w->replica, now - w->sent_ns, w->ahead);
	/* Answered, as far as deadlines go: a stream may take its time. */
	heap_remove(&w->api->gate.due, &w->due);
	w->stage = STAGE_ANSWER;
	gate__timing(w);
	gate__tell_cold(w);
	/* A client that reads slowly holds its connection, not the place. */
	if (!stream && replica_frees_at_head(w->replica))
		room |= free_place(w, now);
	if (room)
		gate_flush(w->api);
}

/* As far as the replica goes it is answered. */
static void on_held(struct http_req *req, void *data)
{
	struct waiter *w = data;
	uint64_t now = uv_hrtime();
	bool room = stop_alone(w);

	(void)req;
	w->held = true;
	gate__end_lease(w);
	replica_answered(w->replica, now - w->sent_ns, w->ahead);
	room |= free_place(w, now);
	if (room)
		gate_flush(w->api);
}

static void on_proxy_end(struct http_req *req, enum http_proxy_end end,
			 void *data)
{
	struct waiter *w = data;
	struct replica *r = w->replica;
	struct api *a = w->api;
	bool got_room = stop_alone(w);

	got_room |=
		free_place(w, w->placed && end == PROXY_DONE ? uv_hrtime() : 0);
	w->replica = NULL;
	r->in_flight--;
	gate__count(w, r, end);
	switch (end) {
	case PROXY_GONE:
		w->left = true;
		to_state(w, ANSWERED);
		break;
	case PROXY_DONE:
	case PROXY_CUT:
		w->cut = req->cut = end == PROXY_CUT;
		to_state(w, ANSWERED);
		break;
	case PROXY_CANCELED:
		gate__timed_out(w);
		break;
	case PROXY_NO_CONNECT:
		r->hold_until = uv_now(a->serve->loop) + HOLD_MS;
		w->skip_id = gate__place_of(r);
		enqueue(w, true);
		break;
	case PROXY_NOT_BEGUN:
		r->hold_until = uv_now(a->serve->loop) + HOLD_MS;
		w->skip_id = gate__place_of(r);
		if (http_proxy_repeatable(w->req))
			enqueue(w, true);
		else
			gate__fail(w, E_UNAVAILABLE, NULL,
				   "the replica that had this request is being "
				   "replaced, and its body is too large to be "
				   "kept");
		break;
	case PROXY_DIED:
		/* Its exit is not known yet. */
		r->hold_until = uv_now(a->serve->loop) + HOLD_MS;
		w->skip_id = gate__place_of(r);
		w->reached = true;
		w->suspect = replica_is_suspicious(r);
		if (may_repeat(w) &&
		    ++w->tries < (w->suspect ? SUSPECT_MAX : TRIES_MAX))
			enqueue(w, true);
		else
			mourn(w, r);
		break;
	case PROXY_BAD_RESPONSE:
		w->reached = true;
		gate__fail(w, E_UPSTREAM, "bad response",
			   "the replica's answer was not HTTP");
		break;
	}
	replica_idle(r);
	if (got_room)
		gate_flush(a);
}

static void send_to(struct waiter *w, struct replica *r)
{
	const struct http_header ask = gate__ask_timing();
	const struct http_proxy_opts opts = {
		.target = w->target,
		.ours = ask.name,
		.add = &ask,
		.n_add = w->timing && replica__is_ours(r),
		.not_begun = STR(GATE_NOT_BEGUN),
		.on_head = on_head,
		.on_held = on_held,
		.on_end = on_proxy_end,
		.data = w,
	};

	/* At once is not worth a look at the clock. */
	w->sent_ns = w->state == QUEUED ? uv_hrtime() : w->req->start_ns;
	to_state(w, SENT);
	gate__take_lease(w);
	w->replica = r;
	w->stage = STAGE_REPLICA;
	w->placed = true;
	w->held = false;
	w->alone = w->suspect;
	r->alone = w->alone;
	w->ahead = ++r->placed;
	r->in_flight++;
	http_proxy(w->req, &r->up, &opts);
}

static struct waiter *first_in(const struct list *queue)
{
	return LIST_ENTRY(queue->next, struct waiter, queue);
}

/* Those who wait, as policy sees them. */
static void look(const struct gate *g, uint64_t since[PRIORITIES])
{
	for (int i = 0; i < PRIORITIES; i++)
		since[i] = list_empty(&g->queue[i])
				   ? PRIORITY_NOBODY
				   : first_in(&g->queue[i])->req->start_ns;
}

static void expire(struct api *a);

/* Sends w if some replica has room. */
static bool try_send(struct waiter *w)
{
	struct replica *r = gate__pick(w->api, w);

	if (r)
		send_to(w, r);
	return r;
}

/* Those whom a replica was loaded for go to it while it takes nobody else. */
static bool send_leased(const struct gate *g)
{
	for (int i = 0; g->leases && i < PRIORITIES; i++)
		if (!list_empty(&g->queue[i]) &&
		    first_in(&g->queue[i])->lease &&
		    try_send(first_in(&g->queue[i])))
			return true;
	return false;
}

/* Sends the next of those who wait; false: nobody can go. */
static bool send_next(struct gate *g)
{
	uint64_t since[PRIORITIES];
	struct priority_turn turn;

	if (!list_empty(&g->suspects) && try_send(first_in(&g->suspects)))
		return true;
	look(g, since);
	turn = priority_next(since, g->passed);
	if (turn.next < 0)
		return false;
	if (!try_send(first_in(&g->queue[turn.next])))
		return send_leased(g);
	g->passed = turn.passed;
	return true;
}

void gate_flush(struct api *a)
{
	struct gate *g = &a->gate;
	bool going = !a->serve->yielded;

	while (going && g->queued && !g->expiring) {
		expire(a);
		going = send_next(g);
	}
}

uint64_t gate_oldest_ns(const struct gate *g, uint64_t now_ns)
{
	uint64_t since[PRIORITIES], oldest = now_ns;

	look(g, since);
	for (int i = 0; i < PRIORITIES; i++)
		oldest = MIN(oldest, since[i]);
	if (!list_empty(&g->suspects))
		oldest = MIN(oldest, first_in(&g->suspects)->req->start_ns);
	return now_ns - oldest;
}

/* The status that it counts as, whatever a stream's head said: a client that
 * left is no error (0), an answer that broke off is one. */
static unsigned outcome(const struct waiter *w)
{
	if (w->cut)
		return 502;
	return w->req->gone && w->req->status < 400 ? 0 : w->req->status;
}

static void on_over(struct http_req *req)
{
	struct waiter *w = req->user;
	struct api *a = w->api;

	assert(!w->replica);
	if (req->gone && (w->left || w->state != ANSWERED))
		a->gate.counts.cancelled[w->stage]++;
	to_state(w, ANSWERED);
	gate__call_over(w);
	a->gate.in_flight--;
	scale_on_over(a);
	stats_add(&a->stats, outcome(w), (req->end_ns - req->start_ns) / 1000);
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

static bool would_overtake(const struct gate *g)
{
	for (int i = 0; g->queued && i < PRIORITIES; i++)
		if (!list_empty(&g->queue[i]))
			return true;
	return false;
}

/* rev: whose replicas it waits for. */
static void wait_for_room(struct waiter *w, const struct revision *rev)
{
	w->cold = !gate__any_ready(w->api);
	w->events = w->cold && gate__takes_events(w->req);
	w->api->scale.cold_requests += w->cold;
	if (w->cold && gate__rests(w->api, rev)) {
		gate__cannot_start(w, rev);
	} else if (w->cold && w->come_again && !rev->frozen.n) {
		scale_on_refusal(w->api);
		gate__come_again(w, rev);
	} else if (gate__may_wait(w, gate_serving(w->api)->spec)) {
		enqueue(w, false);
	}
}

static struct waiter *new_waiter(struct api *a, struct http_req *req)
{
	struct waiter *w = arena_zalloc(req->arena, sizeof *w);

	w->req = req;
	w->api = a;
	w->state = SENT; /* in no list yet */
	list_init(&w->queue);
	req->user = w;
	req->on_over = on_over;
	a->gate.in_flight++;
	return w;
}

void gate_accept(struct api *a, struct http_req *req, struct str rest)
{
	struct waiter *w = new_waiter(a, req);
	struct revision *rev = gate_serving(a);

	if (!rev || ending(a)) {
		gate__turn_away(w);
		return;
	}
	if (!gate__admit(w, rev->spec))
		return;
	w->target = target_of(req, rest);
	if (!gate__joins(w))
		gate__go(w, req->start_ns);
}

void gate_find_call(struct api *a, struct http_req *req)
{
	struct revision *rev = a ? gate_serving(a) : NULL;
	struct waiter *w;

	if (!rev || ending(a)) {
		gate__not_here(req);
		return;
	}
	w = new_waiter(a, req);
	w->asks = true;
	if (!gate__admit(w, rev->spec))
		return;
	w->target = target_of(req, req->path);
	if (!gate__joins(w)) {
		to_state(w, ANSWERED);
		gate__not_here(req);
	}
}

void gate__go(struct waiter *w, uint64_t now_ns)
{
	struct api *a = w->api;
	struct revision *rev = gate_serving(a);

	if (!rev || ending(a)) {
		gate__turn_away(w);
		return;
	}
	if (a->serve->yielded) {
		pass_on(w);
		return;
	}
	swap_arrived(&a->came, now_ns);
	scale_on_request(a, rev, now_ns);
	/* Nobody overtakes who waits already, but those who go alone: these
	 * wait for a replica that has nothing else. */
	if (would_overtake(&a->gate) || !try_send(w))
		wait_for_room(w, rollout_awaited(a));
}

/* Gives up on those whose time is over. */
static void expire(struct api *a)
{
	struct heap *due = &a->gate.due;
	uint64_t now = uv_now(a->serve->loop);
	struct heap_node *first;

	/* Each turn takes one out; others may go with it. What falls free
	 * meanwhile is for those who are left. */
	a->gate.expiring = true;
	while ((first = heap_first(due)) && first->key <= now) {
		struct waiter *w = CONTAINER_OF(first, struct waiter, due);

		heap_remove(due, first);
		if (w->state == MOURNING) {
			gate__died(w, NULL);
		} else if (w->state == SENT || w->state == ASKING) {
			/* When its answer is already on its way the cancel has
			 * nothing to do. */
			w->reached = true;
			http_proxy_cancel(w->req);
		} else {
			gate__timed_out(w);
		}
	}
	a->gate.expiring = false;
}

void gate_tick(struct api *a)
{
	expire(a);
	gate_flush(a);
	gate__let_hear(a);
}

void gate_on_exit(struct api *a, struct replica *r, const char *cause)
{
	(void)a;
	while (!list_empty(&r->mourners)) {
		struct waiter *w =
			LIST_ENTRY(r->mourners.next, struct waiter, queue);

		gate__died(w, cause);
	}
}

void gate_give_up(struct api *a)
{
	const struct revision *rev = gate_serving(a);
	struct gate *g = &a->gate;

	if (!rev || !g->queued || !gate__is_hopeless(a, rev))
		return;
	scale_on_hopeless(a);
	for (int i = 0; i < PRIORITIES; i++)
		while (!list_empty(&g->queue[i]))
			gate__cannot_start(first_in(&g->queue[i]), rev);
	while (!list_empty(&g->suspects))
		gate__cannot_start(first_in(&g->suspects), rev);
}

void gate_pass_on(struct api *a)
{
	struct gate *g = &a->gate;

	for (int i = 0; i < PRIORITIES; i++)
		while (!list_empty(&g->queue[i]))
			pass_on(first_in(&g->queue[i]));
	while (!list_empty(&g->suspects))
		pass_on(first_in(&g->suspects));
}

void gate_expire_all(struct api *a)
{
	struct heap_node *first;

	while ((first = heap_first(&a->gate.due)) &&
	       first->key > uv_now(a->serve->loop)) {
		heap_put(&a->gate.due, first, 0);
		expire(a);
	}
}

void gate_end(struct api *a)
{
	for (int i = 0; i < PRIORITIES; i++)
		while (!list_empty(&a->gate.queue[i]))
			gate__turn_away(first_in(&a->gate.queue[i]));
	while (!list_empty(&a->gate.suspects))
		gate__turn_away(first_in(&a->gate.suspects));
}
