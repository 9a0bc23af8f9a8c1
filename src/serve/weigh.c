#include "serve/weigh.h"

#include "policy/share.h"
#include "serve/replica.h"
#include "serve/revision.h"
#include "serve/serve.h"

/* Its processes, of all revisions; frozen ones claim nothing. */
static unsigned running(const struct api *a)
{
	unsigned n = 0;

	for (const struct list *it = a->revisions.next; it != &a->revisions;
	     it = it->next) {
		const struct revision *rev = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct revision, link);
		const struct replica *r = NULL;

		while ((r = replica_next(&rev->replicas, r)))
			n += r->process != NULL;
	}
	return n;
}

static int64_t share(const struct revision *rev, unsigned n)
{
	const struct spec *spec = rev->spec;

	return share_millis(spec->compute.cpu_millis, spec->scale.min_replicas,
			    spec->predictor.processes, n);
}

int64_t weigh_next(const struct revision *rev)
{
	return share(rev, running(rev->api) + 1);
}

static void weigh_all(const struct revision *rev, unsigned n)
{
	int64_t millis = share(rev, n);
	struct replica *r = NULL;

	while ((r = replica_next(&rev->replicas, r))) {
		/* One that starts may have no control group yet. */
		if (r->process && r->state == REPLICA_READY)
			process_weigh(r->process, millis);
	}
}

void weigh_tick(struct api *a)
{
	struct list *it, *tmp;
	unsigned n = running(a);

	LIST_EACH (&a->revisions, it, tmp)
		weigh_all(LIST_ENTRY(it, struct revision, link), n);
}
