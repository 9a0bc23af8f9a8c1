#include "serve/weigh.h"

#include "core/mem.h"
#include "policy/share.h"
#include "serve/replica.h"
#include "serve/revision.h"
#include "serve/serve.h"

/* The place of a replica among those of its revision that are not in back-off;
 * its processes have one index. n: places up to and with this one. */
struct place {
	unsigned n;
	unsigned index;
};

static void step(struct place *p, const struct replica *r)
{
	if (r->state == REPLICA_BACKOFF || (p->n && r->index == p->index))
		return;
	p->n++;
	p->index = r->index;
}

static int64_t share(const struct revision *rev, const struct place *p)
{
	const struct spec *spec = rev->spec;
	unsigned promised = MAX(rev->api->scale.scheduled,
				MAX(spec->scale.min_replicas, 1u));

	return share_millis(spec->compute.cpu_millis, spec->predictor.processes,
			    p->n > promised);
}

int64_t weigh_replica(const struct replica *r)
{
	const struct replica *other = NULL;
	struct place p = {.n = 0};

	while ((other = replica_next(&r->rev->replicas, other))) {
		step(&p, other);
		if (other == r)
			break;
	}
	return share(r->rev, &p);
}

void weigh_tick(const struct revision *rev)
{
	struct replica *r = NULL;
	struct place p = {.n = 0};

	while ((r = replica_next(&rev->replicas, r))) {
		step(&p, r);
		/* One that starts may have no control group yet. */
		if (r->process && r->state == REPLICA_READY)
			process_weigh(r->process, share(rev, &p));
	}
}
