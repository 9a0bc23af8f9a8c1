/*
 * Who asks again for what is being answered: the same key, method, target, body
 * and credentials make the same call. It runs once: whoever comes again gets
 * its answer, and where that is whose client gave up the call has gone on
 * without one (http_req.keep). One whose answer has begun is over, as far as
 * this goes.
 */
#include "serve/elders.h"
#include "serve/gate_parts.h"
#include "serve/serve.h"
#include "serve/wish.h"

enum { BODY_MAX = 1024 * 1024 };

/* Nobody is to have what another was allowed. AWS's clients sign each attempt
 * anew, and their keys cannot be guessed. Origin: the answer's headers are for
 * that. */
static struct str full_key(struct waiter *w)
{
	const struct http_req *req = w->req;
	struct str authorization = {0};
	struct str cookie = http_req_header(req, "Cookie");
	struct str origin = http_req_header(req, "Origin");

	if (!w->aws_key)
		authorization = http_req_header(req, "Authorization");
	return str_of(arena_printf(
		req->arena, "%.*s %.*s\n%.*s\n%.*s\n%.*s\n%.*s",
		(int)req->method_name.n, req->method_name.p, (int)w->target.n,
		w->target.p, (int)authorization.n, authorization.p,
		(int)cookie.n, cookie.p, (int)origin.n, origin.p, (int)w->key.n,
		w->key.p));
}

static void make(struct waiter *w)
{
	map_set(&w->api->gate.calls, w->key.p, w);
	w->is_call = true;
	w->req->keep = true;
}

/* By a daemon that has yielded: whoever comes to us is newer. */
static bool was_passed_on(const struct waiter *w)
{
	return str_eq(w->req->peer, STR("unix"));
}

static void too_old(struct waiter *w)
{
	gate__fail(w, E_CONFLICT, NULL,
		   "the same call has come once more, and its answer goes "
		   "there (" WISH_KEY ")");
}

/* Of those who ask for it the last counts. */
static void take_over(struct waiter *first, struct waiter *w)
{
	struct heap *due = &w->api->gate.due;

	first->timing = first->timing || w->timing;
	first->tell_cold = w->tell_cold;
	first->events = first->cold && gate__takes_events(w->req);
	first->said_at = 0;
	if (first->state != MOURNING) {
		first->limit_ms = w->limit_ms;
		first->limit_is_wish = w->limit_is_wish;
		heap_remove(due, &first->due);
		if (w->limit_ms)
			heap_put(due, &first->due,
				 w->req->start_ns / 1000000 + w->limit_ms);
	}
	if (http_req_swap(first->req, w->req))
		too_old(w);
}

static void join(struct waiter *w);

void gate__not_here(struct http_req *req)
{
	http_reply_header(req, GATE_NOT_BEGUN, "1");
	http_reply_error(req, E_UNAVAILABLE, "this call does not run here");
}

/* ---- calls that a daemon runs which has yielded ---- */

static void on_told_head(struct http_req *req, unsigned status, bool stream,
			 void *data)
{
	struct waiter *w = data;

	(void)req;
	(void)status;
	(void)stream;
	heap_remove(&w->api->gate.due, &w->due);
	w->stage = STAGE_ANSWER;
}

/* That one was killed, with what it had of the call. */
static void on_elder_died(struct waiter *w)
{
	w->elder->gone = true;
	if (w->aws_key)
		gate__fail(w, E_UPSTREAM, NULL,
			   "the daemon from before an upgrade ended while it "
			   "had this call");
	else
		join(w);
}

static void on_told(struct http_req *req, enum http_proxy_end end, void *data)
{
	struct waiter *w = data;

	(void)req;
	w->state = JOINING;
	switch (end) {
	case PROXY_DONE:
	case PROXY_GONE:
	case PROXY_CUT:
		w->left = end == PROXY_GONE;
		w->cut = end == PROXY_CUT;
		gate__answered(w);
		break;
	case PROXY_CANCELED:
		gate__timed_out(w);
		break;
	case PROXY_DIED:
		on_elder_died(w);
		break;
	case PROXY_NO_CONNECT:
		w->elder->gone = true;
		join(w);
		break;
	case PROXY_NOT_BEGUN:
	case PROXY_BAD_RESPONSE:
		join(w);
		break;
	}
}

/* Whether one is asked, of those that were not yet. */
static bool ask_elder(struct waiter *w)
{
	const struct http_header api = {STR(GATE_CALL_API),
					str_of(w->api->name)};
	const struct http_proxy_opts opts = {
		.target = w->target,
		.add = &api,
		.n_add = 1,
		.not_begun = STR(GATE_NOT_BEGUN),
		.on_head = on_told_head,
		.on_end = on_told,
		.data = w,
	};

	w->elder = elders_next(&w->api->serve->elders, w->elder);
	if (!w->elder)
		return false;
	w->state = ASKING;
	http_proxy(w->req, &w->elder->up, &opts);
	return true;
}

/* ---- once its body is here ---- */

static void join(struct waiter *w)
{
	struct waiter *first = map_get(&w->api->gate.calls, w->key.p);

	if (first && http_req_may_swap(first->req) &&
	    str_eq(first->body, w->body)) {
		/* Its client may have left that daemon, and be here. */
		if (!w->asks && was_passed_on(w) && !was_passed_on(first))
			too_old(w);
		else
			take_over(first, w);
		return;
	}
	if (w->asks) {
		gate__answered(w);
		gate__not_here(w->req);
		return;
	}
	if (!first && ask_elder(w))
		return;
	w->state = SENT; /* in no list */
	if (!first)
		make(w);
	gate__go(w, uv_hrtime());
}

static void on_body(struct http_req *req, const char *body, size_t len)
{
	struct waiter *w = req->user;

	if (w->state != JOINING)
		return; /* its time is over */
	w->body = (struct str){body, len};
	join(w);
}

bool gate__joins(struct waiter *w)
{
	const struct http_req *req = w->req;

	if (!w->key.n || req->upgrade ||
	    (req->has_body &&
	     (req->content_length < 0 || req->content_length > BODY_MAX)))
		return false;
	w->key = full_key(w);
	w->state = JOINING;
	http_req_body(w->req, BODY_MAX, on_body);
	return true;
}

void gate__call_over(struct waiter *w)
{
	if (w->is_call)
		map_del(&w->api->gate.calls, w->key.p);
	w->is_call = false;
}
