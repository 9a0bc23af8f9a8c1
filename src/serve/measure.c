#include "serve/measure.h"

#include "core/mem.h"
#include "policy/swap.h"
#include "serve/memory.h"
#include "serve/serve.h"
#include "serve/swap.h"

enum {
	SOON_MS = 2000, /* after the first look, which is at ready; then twice
			   as long each time, ... */
	AGAIN_MS = 300 * 1000, /* ... and so often in the end */
	DOUBLINGS = 8,
	FADE = 8, /* of what was learned from running out goes with a look */
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

	l->what.took = footprint_of(l->what.pid);
}

static void on_looked(uv_work_t *work, int status)
{
	struct look *l = work->data;
	struct api *a = map_get(&l->serve->apis, l->api);

	l->serve->measuring--;
	l->what.rev = a ? api_revision(a, l->what.revision) : NULL;
	if (status)
		l->what.took.all = 0;
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

/* What processes map that are ready is shared by them: each was counted by its
 * part. */
static uint64_t all_map(const struct revision *rev, uint64_t each)
{
	const struct replica *r = NULL;
	uint64_t n = 0;

	while ((r = replica_next(&rev->replicas, r)))
		n += replica_is_ready(r);
	return each * MAX(n, (uint64_t)1);
}

static void learn(struct revision *rev, const struct footprint *f)
{
	struct measure *m = &rev->measure;
	unsigned processes = rev->spec->predictor.processes;
	uint64_t total = memory_total(rev->api->serve);
	/* A peak of what it reads is no more than what it keeps of that; what
	 * is beyond are files, which the kernel drops. */
	uint64_t own = (f->own + MIN(f->more, f->own)) * processes;

	if (m->guess_of)
		m->own = m->shared = 0;
	m->guess_of = 0;
	m->bytes = f->all * processes;
	m->own = MAX(m->own, own);
	/* Files beyond what there is are read again: they are no reason never
	 * to start it. */
	m->shared = MAX(m->shared, all_map(rev, f->files));
	m->shared = MIN(m->shared, total - MIN(m->own, total));
	if (m->ran_out > own)
		m->ran_out -= (m->ran_out - own) / FADE;
	m->looks++;
}

static void on_measured(struct api *a, const struct measured *m)
{
	struct revision *rev = m->rev;
	uint64_t wait_ms;

	if (!rev)
		return;
	rev->measure.under_way = false;
	rev->measure.next_at = uv_now(a->serve->loop) + AGAIN_MS;
	if (!m->took.all)
		return;
	wait_ms = (uint64_t)SOON_MS
		  << MIN(rev->measure.looks, (uint32_t)DOUBLINGS);
	rev->measure.next_at =
		uv_now(a->serve->loop) + MIN(wait_ms, (uint64_t)AGAIN_MS);
	learn(rev, &m->took);
	scale_on_measured(a);
}

void measure_guess(struct revision *rev, const struct revision *before)
{
	rev->measure.own = before->measure.own;
	rev->measure.shared = before->measure.shared;
	rev->measure.ran_out = before->measure.ran_out;
	rev->measure.guess_of = before->measure.guess_of
					? before->measure.guess_of
					: before->number;
}

void measure_ran_out(struct revision *rev, uint64_t had)
{
	uint64_t limit = (uint64_t)rev->spec->compute.mem_limit;
	uint64_t mapped = rev->measure.shared, ever = swap_ever(rev);
	struct memory_need need = memory_need(rev);
	uint64_t own =
		(had - MIN(had, mapped)) * rev->spec->predictor.processes;

	/* All of these are with the files that it maps, which are counted for
	 * themselves. A limit below these says nothing. */
	if (limit)
		limit = MAX(limit - MIN(limit, need.shared), need.own);
	rev->measure.ran_out = swap_raised(need.own, own, limit,
					   ever - MIN(ever, need.shared));
	scale_on_measured(rev->api);
}

bool measure_lower(struct revision *rev, uint64_t has)
{
	uint64_t shared = memory_need(rev).shared, known, before;
	struct measure *m = &rev->measure;

	before = m->ran_out;
	m->ran_out = 0;
	known = memory_need(rev).own;
	m->ran_out = before;
	if (before <= known || known + shared > has)
		return false;
	m->ran_out = MIN(before, has - shared);
	return m->ran_out < before;
}

static const struct replica *ready_one(const struct revision *rev)
{
	const struct replica *r = NULL;

	while ((r = replica_next(&rev->replicas, r)))
		if (replica_is_ready(r) && r->process)
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
	r = ready_one(rev);
	if (r && !measure_look(rev, r->process->pid, on_measured))
		rev->measure.under_way = true;
}
