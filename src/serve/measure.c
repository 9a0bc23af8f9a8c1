#include "serve/measure.h"

#include "box/footprint.h"
#include "core/mem.h"
#include "serve/serve.h"

enum {
	SETTLED_MS = 2000, /* a replica is ready for so long before */
	AGAIN_MS = 300 * 1000,
};

/* On its way through the pool. The revision may be gone meanwhile, Soma is not.
 */
struct look {
	uv_work_t work;
	struct serve *serve;
	char *api; /* owned */
	struct measured what;
	measure_done *done;
};

static void on_look(uv_work_t *work)
{
	struct look *l = work->data;

	l->what.bytes = footprint_of(l->what.pid);
}

static void on_looked(uv_work_t *work, int status)
{
	struct look *l = work->data;
	struct api *a = map_get(&l->serve->apis, l->api);

	l->serve->measuring--;
	l->what.rev = a ? api_revision(a, l->what.revision) : NULL;
	if (status)
		l->what.bytes = 0;
	if (a)
		l->done(a, &l->what);
	free(l->api);
	free(l);
}

int measure_look(struct revision *rev, pid_t pid, measure_done *done)
{
	struct serve *s = rev->api->serve;
	struct look *l = mem_alloc(sizeof *l);
	int rc;

	*l = (struct look){.serve = s,
			   .api = mem_strdup(rev->api->name),
			   .what = {.pid = pid, .revision = rev->number},
			   .done = done};
	l->work.data = l;
	rc = uv_queue_work(s->loop, &l->work, on_look, on_looked);
	if (rc) {
		free(l->api);
		free(l);
		return rc;
	}
	s->measuring++;
	return 0;
}

/* ---- a revision's replicas ---- */

static void on_measured(struct api *a, const struct measured *m)
{
	struct revision *rev = m->rev;

	if (!rev)
		return;
	rev->measure.under_way = false;
	rev->measure.next_at = uv_now(a->serve->loop) + AGAIN_MS;
	if (!m->bytes)
		return;
	if (!rev->measure.bytes)
		scale_on_measured(a);
	rev->measure.bytes = m->bytes * rev->spec->predictor.processes;
}

static const struct replica *settled_one(const struct revision *rev,
					 uint64_t now)
{
	const struct replica *r = NULL;

	while ((r = replica_next(&rev->replicas, r)))
		if (replica_is_ready(r) && r->process &&
		    r->ready_at + SETTLED_MS <= now)
			return r;
	return NULL;
}

void measure_tick(struct revision *rev)
{
	struct serve *s = rev->api->serve;
	uint64_t now = uv_now(s->loop);
	const struct replica *r;

	if (rev->measure.under_way || now < rev->measure.next_at || s->stopping)
		return;
	r = settled_one(rev, now);
	if (r && !measure_look(rev, r->process->pid, on_measured))
		rev->measure.under_way = true;
}
