#include "serve/measure.h"

#include "box/footprint.h"
#include "core/mem.h"
#include "serve/serve.h"

enum {
	SETTLED_MS = 2000, /* a replica is ready for so long before */
	AGAIN_MS = 300 * 1000,
};

/* On its way through the pool. The api may be gone meanwhile, Soma is not. */
struct look {
	uv_work_t work;
	struct serve *serve;
	char *api; /* owned */
	pid_t pid;
	unsigned processes;
	uint64_t bytes;
};

static void on_look(uv_work_t *work)
{
	struct look *l = work->data;

	l->bytes = footprint_of(l->pid);
}

static void on_looked(uv_work_t *work, int status)
{
	struct look *l = work->data;
	struct serve *s = l->serve;
	struct api *a = map_get(&s->apis, l->api);

	s->measuring--;
	if (a) {
		a->measure.under_way = false;
		a->measure.next_at = uv_now(s->loop) + AGAIN_MS;
		if (!status && l->bytes)
			a->measure.bytes = l->bytes * l->processes;
	}
	free(l->api);
	free(l);
}

static const struct replica *settled_one(const struct api *a, uint64_t now)
{
	const struct revision *rev = gate_serving(a);

	if (!rev)
		return NULL;
	for (const struct list *it = rev->replicas.next; it != &rev->replicas;
	     it = it->next) {
		const struct replica *r = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct replica, link);

		if (replica_is_ready(r) && r->process &&
		    r->ready_at + SETTLED_MS <= now)
			return r;
	}
	return NULL;
}

void measure_tick(struct api *a)
{
	struct serve *s = a->serve;
	uint64_t now = uv_now(s->loop);
	const struct replica *r;
	struct look *l;

	if (a->measure.under_way || now < a->measure.next_at || s->stopping)
		return;
	r = settled_one(a, now);
	if (!r)
		return;
	l = mem_alloc(sizeof *l);
	*l = (struct look){.serve = s,
			   .api = mem_strdup(a->name),
			   .pid = r->process->pid,
			   .processes = r->rev->spec->predictor.processes};
	l->work.data = l;
	if (uv_queue_work(s->loop, &l->work, on_look, on_looked)) {
		free(l->api);
		free(l);
		return;
	}
	s->measuring++;
	a->measure.under_way = true;
}
