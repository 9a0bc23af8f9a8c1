#include "serve/weigh.h"

#include <uv.h>

#include "box/footprint.h"
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

/* Counts what its process took of the processors since the last time. A
 * command's processes are its own matter. */
static void count_use(struct replica *r, int64_t claim)
{
	const struct serve *s = r->rev->api->serve;
	uint64_t now = uv_hrtime(), cpu = cpu_time_ns(r->process->pid);
	struct use *u = &r->use;

	if (u->pid != r->process->pid)
		*u = (struct use){.pid = r->process->pid};
	else if (cpu)
		share_credit(&u->credit, (int64_t)(cpu - u->cpu_ns) / 1000,
			     (int64_t)(now - u->at_ns) / 1000, claim, s->claims,
			     s->processors);
	u->at_ns = now;
	u->cpu_ns = cpu;
}

static void weigh(struct replica *r, int64_t claim)
{
	bool light;

	if (!r->slots) {
		process_weigh(r->process, claim);
		return;
	}
	count_use(r, claim);
	light = r->use.credit.light;
	process_weigh(r->process, light ? claim * SHARE_LIGHT : claim);
	process_pace(r->process,
		     share_is_brisk(light, r->work.told.predict_ns));
}

void weigh_tick(const struct revision *rev)
{
	struct replica *r = NULL;
	struct place p = {.n = 0};

	while ((r = replica_next(&rev->replicas, r))) {
		int64_t claim;

		step(&p, r);
		/* One that starts may have no control group yet. */
		if (!r->process || r->state != REPLICA_READY)
			continue;
		claim = share(rev, &p);
		rev->api->serve->counting_claims += claim;
		weigh(r, claim);
	}
}
