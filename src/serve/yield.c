/* yield.c: another daemon takes over, and this one keeps the requests that
 * replicas have.
 *
 *   serve_why_not_yield, now and then: NULL
 *   serve_yield ──▶ timers stopped, children left alone, the queue passed on
 *              ╰──▶ the store commits what is queued, is closed ──▶ closed()
 *   serve_yield_tick ──▶ deadlines; HOLDS
 *
 * What would act in callbacks of those requests (a replica that is idle, policy
 * that would be asked) asks `yielded` first.
 */
#include "serve/serve.h"

#include "core/mem.h"
#include "loop/log.h"

const char *serve_why_not_yield(const struct serve *s)
{
	const struct list *it;
	struct api *a;

	if (!s->loaded || s->stopping || s->yielded)
		return "the daemon is not up yet, or is ending";
	if (s->deploys)
		return "a deploy is under way";
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		if (a->changing || a->removing)
			return "a change of an api is being saved";
	if (s->collecting || s->models.collecting || s->models.finding)
		return "what is not needed any more is being removed from the "
		       "disk";
	if (s->measuring)
		return "the memory of replicas is being measured";
	for (it = s->local.processes.next; it != &s->local.processes;
	     it = it->next) {
		const struct process *p = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct process, link);

		/* Who is not born is known to this daemon alone. */
		if (p->state != PROCESS_EXITED && (p->unborn || p->config))
			return "a replica is being forked";
	}
	return NULL;
}

static void each_replica(struct serve *s,
			 void (*fn)(struct replica *r, void *data), void *data)
{
	struct list *rit, *rtmp, *it, *tmp;
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		LIST_EACH (&a->revisions, rit, rtmp) {
			struct revision *rev =
				LIST_ENTRY(rit, struct revision, link);
			struct list *all[] = {&rev->replicas, &rev->gone,
					      &rev->frozen.replicas};

			for (size_t n = 0; n < ARRAY_LEN(all); n++)
				LIST_EACH (all[n], it, tmp)
					fn(LIST_ENTRY(it, struct replica, link),
					   data);
		}
}

static void leave_replica(struct replica *r, void *data)
{
	(void)data;
	if (r->timer_open)
		uv_timer_stop(&r->timer);
	/* Those who wait to hear of its end would wait in vain. */
	gate_on_exit(r->rev->api, r, NULL);
}

void serve_yield(struct serve *s, void (*closed)(void *data), void *data)
{
	struct api *a;

	scale_keep_all(s);
	s->yielded = true;
	uv_timer_stop(&s->tick);
	uv_timer_stop(&s->ask);
	uv_timer_stop(&s->swap.timer);
	uv_timer_stop(&s->models.timer);
	local_leave(&s->local);
	each_replica(s, leave_replica, NULL);
	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));) {
		logfile_flush(&a->logs.file);
		gate_pass_on(a);
	}
	store_leave(s->store, closed, data);
}

static void tell_holds(struct replica *r, void *data)
{
	unsigned *all = data;

	*all += r->in_flight;
	if (!r->process ||
	    (r->in_flight == r->told_n && r->placed == r->told_placed))
		return;
	r->told_n = r->in_flight;
	r->told_placed = r->placed;
	local_holds(&r->rev->api->serve->local, r->process, r->in_flight,
		    r->placed);
}

unsigned serve_yield_tick(struct serve *s)
{
	unsigned n = 0;
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		gate_tick(a);
	each_replica(s, tell_holds, &n);
	return n;
}

struct held {
	const struct process *process;
	unsigned n, placed;
};

static void take_held(struct replica *r, void *data)
{
	const struct held *h = data;

	if (r->process == h->process)
		replica_elders(r, h->n, h->placed);
}

void serve_on_held(struct local *l, struct process *p, unsigned n,
		   unsigned placed)
{
	struct held h = {p, n, placed};

	each_replica(CONTAINER_OF(l, struct serve, local), take_held, &h);
}

void serve_yield_end(struct serve *s)
{
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		gate_expire_all(a);
}
