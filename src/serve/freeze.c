/* freeze.c: a replica that is stopped and let run again.
 *
 *             replica_freeze            nothing in it for QUIET_MS
 *   READY ────────────────────▶ FROZEN ─────────────────────────▶ FROZEN,
 * stopped ▲        replica_thaw       │              SIGCONT               │
 *     ╰───────────────────────────┴────────────────────────────────────╯
 *
 * SIGSTOP, to its process group by the keeper: nothing in it runs, and all it
 * has stays as it is. Its socket takes connections all the while. Whoever still
 * runs behind an answer, as post_predict does, ends first: STAGES tells. */
#include <signal.h>

#include "core/mem.h"
#include "serve/replica_parts.h"

enum {
	QUIET_MS = 200, /* longer than it takes to hear of what has changed in a
			   replica */
	SURELY_MS = 2,
};

static void on_quiet(uv_timer_t *timer);

bool replica_may_freeze(const struct replica *r)
{
	return r && r->state == REPLICA_READY && r->process && !r->in_flight &&
	       !r->elders && !r->stuck && r->up_open;
}

void replica_freeze(struct replica *r)
{
	struct revision *rev = r->rev;

	r->state = REPLICA_FROZEN;
	scale_on_gone(rev->api, r);
	list_remove(&r->link);
	list_push_front(&rev->frozen.replicas, &r->link);
	api_event(rev->api, rev->number, "replica_frozen", r->id, NULL,
		  "frozen until it is needed");
	uv_timer_start(&r->timer, on_quiet, QUIET_MS, 0);
}

static void on_quiet(uv_timer_t *timer)
{
	struct replica *r = timer->data;
	const struct tally *in = &r->work.told;

	if (r->state != REPLICA_FROZEN)
		return;
	if (in->pre || in->ready || in->predict || in->post) {
		uv_timer_start(&r->timer, on_quiet, QUIET_MS, 0);
		return;
	}
	r->stopped = true;
	process_signal(r->process, SIGSTOP);
}

void replica__run_on(struct replica *r)
{
	if (r->stopped && r->process)
		process_signal(r->process, SIGCONT);
	r->stopped = false;
}

static void on_surely(uv_timer_t *timer)
{
	replica__run_on(timer->data);
}

void replica_thaw(struct replica *r)
{
	uv_timer_stop(&r->timer);
	if (r->stopped && r->process) {
		/* A word to the keeper takes as long as an answer: it is told
		 * behind that, since its stop may still be on its way. */
		process_run_on(r->process);
		uv_timer_start(&r->timer, on_surely, SURELY_MS, 0);
	}
	r->state = REPLICA_READY;
	r->yielding = false;
	r->yield_ns = 0;
	r->tier = COLD_FROZEN;
	r->there_ns = r->started_ns = r->thawed_ns = uv_hrtime();
	r->ready_at = r->heard_at = replica__now(r);
	r->pings = 0;
	r->thawed = true;
}
