/*
 * Who asks again for what is being answered: the same key, method, target, body
 * and credentials make the same call. It runs once: whoever comes again gets
 * its answer, and where that is whose client gave up the call has gone on
 * without one (http_req.keep). One whose answer has begun is over, as far as
 * this goes.
 */
#include "serve/gate_parts.h"
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
		gate__fail(w, E_CONFLICT, NULL,
			   "the same call has come once more, and its answer "
			   "goes there (" WISH_KEY ")");
}

static void on_body(struct http_req *req, const char *body, size_t len)
{
	struct waiter *w = req->user, *first;

	if (w->state != JOINING)
		return; /* its time is over */
	w->body = (struct str){body, len};
	first = map_get(&w->api->gate.calls, w->key.p);
	if (first && http_req_may_swap(first->req) &&
	    str_eq(first->body, w->body)) {
		take_over(first, w);
		return;
	}
	w->state = SENT; /* in no list */
	if (!first)
		make(w);
	gate__go(w, uv_hrtime());
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
