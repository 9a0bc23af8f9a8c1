/* replica_leave.c: a replica that is not wanted any more: it finishes what it
 * has, within its grace. */
#include <signal.h>

#include "core/mem.h"
#include "serve/replica_parts.h"
#include "serve/swap.h"

/* One that is warmed up has no request of anybody's to finish. */
enum { WARMING_GRACE_MS = 1000 };

static void on_grace(uv_timer_t *timer);

static void stop_process(struct replica *r)
{
	uint64_t now = replica__now(r);
	uint64_t left = r->grace_until > now ? r->grace_until - now : 0;

	r->state = REPLICA_STOPPING;
	if (!r->process) {
		replica__close_upstream(r);
		replica__gone(r);
		return;
	}
	if (!left) {
		process_signal(r->process, SIGKILL);
		return;
	}
	if (replica__is_ours(r))
		process_send(r->process, FRAME_STOP, (uint32_t)left, NULL);
	else
		process_signal(r->process, SIGTERM);
	uv_timer_start(&r->timer, on_grace, left, 0);
}

void replica_leave(struct replica *r, uint32_t grace_ms)
{
	enum replica_state was = r->state;

	if (was >= REPLICA_DRAINING)
		return;
	if (r->warming.on)
		grace_ms = MIN(grace_ms, (uint32_t)WARMING_GRACE_MS);
	uv_timer_stop(&r->timer);
	replica__run_on(r);
	r->grace_until = replica__now(r) + grace_ms;
	list_remove(&r->link);
	list_push_back(&r->rev->gone, &r->link);
	r->state = REPLICA_DRAINING;
	/* One that was adopted may not have said again that it is ready. */
	if (!r->elders && (was != REPLICA_READY || !r->in_flight)) {
		stop_process(r);
		return;
	}
	uv_timer_start(&r->timer, on_grace, grace_ms, 0);
}

void replica_give_way(struct replica *r)
{
	struct replica_past *past = &r->rev->past;

	/* Others may have gone before it: the last one's word counts. */
	free(past->last_exit);
	*past = (struct replica_past){.failures = r->failures,
				      .unready = r->unready,
				      .restarts = r->restarts,
				      .hopeless = r->hopeless,
				      .last_exit = mem_take(&r->last_exit)};
	replica_leave(r, 0);
}

void replica__inherit(struct replica *r)
{
	struct replica_past *past = &r->rev->past;

	r->failures = past->failures;
	r->unready = past->unready;
	r->restarts = past->restarts;
	r->hopeless = past->hopeless;
	r->last_exit = past->last_exit;
	*past = (struct replica_past){.failures = 0};
}

void replica_yield(struct replica *r, bool yielding)
{
	bool was = r->yielding;

	r->yielding = yielding;
	r->yield_ns = yielding ? uv_hrtime() : 0;
	if (was && !yielding)
		gate_flush(r->rev->api);
}

void replica_idle(struct replica *r)
{
	if (r->in_flight || r->elders)
		return;
	/* It waited for this, and may have outlived its revision. */
	if (r->state == REPLICA_GONE) {
		replica__maybe_free(r);
		return;
	}
	if (replica__serve(r)->yielded)
		return;
	if (r->yielding)
		swap_wake(replica__serve(r));
	if (r->state == REPLICA_DRAINING)
		stop_process(r);
}

void replica_elders(struct replica *r, unsigned n, unsigned placed)
{
	bool less = placed < r->elders_placed;

	r->elders = n;
	r->elders_placed = placed;
	if (less)
		gate_flush(r->rev->api);
	if (!n)
		replica_idle(r);
}

/* It has had its time to leave in. */
static void overdue(struct replica *r)
{
	struct revision *rev = r->rev;

	r->overdue = r->stuck ? "it was stuck" : "its grace_period was over";
	if (!r->stuck && !r->warming.on)
		api_event(rev->api, rev->number, "replica_exit", r->id, NULL,
			  "its grace_period was over, with %u requests in "
			  "flight; it is ended",
			  r->in_flight);
}

static void on_grace(uv_timer_t *timer)
{
	struct replica *r = timer->data;

	if (r->state == REPLICA_DRAINING) {
		overdue(r);
		r->grace_until = 0;
		stop_process(r);
	} else if (r->state == REPLICA_STOPPING && r->process) {
		overdue(r);
		process_signal(r->process, SIGKILL);
	}
}
