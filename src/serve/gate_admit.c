/*
 * Who is let in, and who may wait.
 */
#include "policy/balance.h"
#include "serve/gate_parts.h"
#include "serve/wish.h"

/* How long it may take: the least of its api's time and its own. */
static void set_limit(struct waiter *w, const struct spec *spec,
		      const struct wish *wish)
{
	int64_t limit_ms = spec->request_timeout_ms;

	if (wish->timeout_ms >= 0 &&
	    (!limit_ms || wish->timeout_ms < limit_ms)) {
		limit_ms = MIN(wish->timeout_ms, (int64_t)UINT32_MAX);
		w->limit_is_wish = true;
	}
	w->limit_ms = (uint32_t)limit_ms;
	if (limit_ms)
		heap_put(&w->api->gate.due, &w->due,
			 w->req->start_ns / 1000000 + w->limit_ms);
}

bool gate__admit(struct waiter *w, const struct spec *spec)
{
	struct api *a = w->api;
	struct arena *mem = w->req->arena;
	struct wish wish;
	const char *wrong = wish_read(w->req, &wish);
	unsigned replicas = revision_asked(gate_serving(a));

	w->timing = wish.timing == WISH_TIMED ||
		    (wish.timing == WISH_UNSAID && spec->server_timing);
	if (wrong) {
		gate__fail(w, E_INVALID, NULL, wrong);
		return false;
	}
	if (wish.timeout_ms == 0) {
		a->gate.counts.late++;
		gate__fail(w, E_TIMEOUT, NULL,
			   "its time was over before it came (" WISH_TIMEOUT
			   " is 0)");
		return false;
	}
	if (!w->asks && !balance_admit(a->gate.in_flight - 1, replicas,
				       spec->scale.max_replica_concurrency)) {
		gate__overload(
			w, arena_printf(mem,
					"'%s' has %u requests in flight, as "
					"many as it takes "
					"(max_replica_concurrency)",
					a->name, a->gate.in_flight - 1));
		return false;
	}
	w->priority = wish.priority;
	w->key = wish.key;
	w->aws_key = wish.aws_key;
	w->tell_cold = wish.cold;
	w->come_again = wish.on_cold == WISH_RETRY ||
			(wish.on_cold == WISH_AS_API && spec->cold_retry);
	set_limit(w, spec, &wish);
	return true;
}

bool gate__may_wait(struct waiter *w, const struct spec *spec)
{
	struct api *a = w->api;
	const struct gate *g = &a->gate;
	struct queue_rate rate;

	if (spec->max_queue_length && g->queued >= spec->max_queue_length) {
		gate__overload(w,
			       arena_printf(w->req->arena,
					    "%u requests wait for a replica of "
					    "'%s', as many as may "
					    "(max_queue_length)",
					    g->queued, a->name));
		return false;
	}
	if (!w->limit_ms)
		return true;
	rate = gate_rate(a);
	if (!waits_in_vain(g->in_flight - 1, &rate,
			   w->limit_ms * UINT64_C(1000000)))
		return true;
	gate__overload(
		w, arena_printf(w->req->arena,
				"'%s' has %u requests to answer before this, "
				"which takes too long for its %s",
				a->name, g->in_flight - 1,
				w->limit_is_wish ? WISH_TIMEOUT
						 : "request_timeout"));
	return false;
}
