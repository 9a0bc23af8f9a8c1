/*
 * What a request is told that no replica answers.
 */
#include <stdio.h>

#include "serve/gate_parts.h"
#include "serve/replica.h"
#include "serve/serve.h"
#include "serve/wish.h"

void gate__retry_after(struct waiter *w, uint32_t seconds)
{
	char text[12];

	snprintf(text, sizeof text, "%u", seconds);
	http_reply_header(w->req, "Retry-After", text);
}

struct queue_rate gate_rate(const struct api *a)
{
	const struct revision *rev = gate_serving(a);
	struct queue_rate rate = {.for_ns = UINT64_MAX};
	uint64_t busy_ns = 0, soon = 0, now = uv_now(a->serve->loop);
	const struct replica *r = NULL;

	if (!rev)
		return (struct queue_rate){0};
	while ((r = replica_next(&rev->replicas, r))) {
		uint32_t n = replica_slots(r);

		soon += r->state == REPLICA_STARTING ? n : 0;
		if (!replica_is_ready(r) || !r->service_ns || !n)
			continue;
		rate.slots += n;
		rate.answers += r->answers;
		rate.for_ns = MIN(rate.for_ns,
				  (now - r->ready_at) * UINT64_C(1000000));
		busy_ns += n * replica_steady_ns(r);
	}
	if (rate.slots) {
		rate.service_ns = busy_ns / rate.slots;
		rate.slots += soon;
	}
	return rate;
}

void gate__turn_away(struct waiter *w)
{
	gate__retry_after(w, 1);
	gate__fail(w, E_UNAVAILABLE, NULL,
		   w->api->serve->stopping ? "Soma is stopping"
					   : "the api is being deleted");
}

void gate__overload(struct waiter *w, const char *text)
{
	struct queue_rate rate = gate_rate(w->api);

	w->api->gate.counts.overloads++;
	gate__retry_after(w, retry_after_s(w->api->gate.in_flight, &rate));
	gate__fail(w, E_OVERLOAD, NULL, text);
}

void gate__timed_out(struct waiter *w)
{
	struct api *a = w->api;
	struct arena *mem = w->req->arena;
	const struct revision *rev = gate_serving(a);
	const char *key = w->limit_is_wish ? WISH_TIMEOUT : "request_timeout";
	uint32_t seconds;
	char after[32];

	str_human_ms(w->limit_ms, after);
	if (w->reached) {
		gate__fail(w, E_TIMEOUT, NULL,
			   arena_printf(mem, "no answer within %s (%s)", after,
					key));
		return;
	}
	a->gate.counts.late++;
	if (rev && revision_ready(rev) > 0) {
		gate__fail(w, E_TIMEOUT, NULL,
			   arena_printf(mem,
					"no replica of '%s' had room within "
					"%s (%s); the request was dropped, no "
					"replica has seen it",
					a->name, after, key));
		return;
	}
	seconds = gate__ready_in_s(a, rev);
	gate__retry_after(w, seconds);
	gate__fail(w, E_UNAVAILABLE, NULL,
		   arena_printf(
			   mem, "'%s' has no ready replica, waited %s (%s)%s%s",
			   a->name, after, key, rev && rev->message ? ": " : "",
			   rev && rev->message ? rev->message : ""));
	scale_on_promise(a, seconds);
}

void gate__died(struct waiter *w, const char *cause)
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
	} else if (w->tries && w->suspect) {
		text = arena_printf(w->req->arena,
				    "%u replicas of '%s' died while they had "
				    "this request, the last by %s, when it had "
				    "nothing else; it is not sent to another",
				    w->tries, name, cause);
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

	gate__fail(w, E_UPSTREAM, cause, text);
}
