#include "serve/weigh.h"

#include <limits.h>

#include "core/mem.h"
#include "policy/share.h"
#include "serve/replica.h"
#include "serve/revision.h"
#include "serve/serve.h"

/* `at` is the replica's place among those of its revision, the first is 0. */
static int64_t share(const struct revision *rev, unsigned at)
{
	const struct spec *spec = rev->spec;
	unsigned promised = MAX(rev->api->scale.scheduled,
				MAX(spec->scale.min_replicas, 1u));

	return share_millis(spec->compute.cpu_millis, spec->predictor.processes,
			    at >= promised);
}

/* The next one in their order, and its place. Processes of one replica have one
 * index; *at is UINT_MAX at first. */
static struct replica *next(const struct revision *rev, struct replica *r,
			    unsigned *at)
{
	struct replica *then = replica_next(&rev->replicas, r);

	*at += then && (!r || then->index != r->index);
	return then;
}

int64_t weigh_replica(const struct replica *r)
{
	struct replica *other = NULL;
	unsigned at = UINT_MAX;

	while ((other = next(r->rev, other, &at)) && other != r)
		;
	return share(r->rev, at);
}

void weigh_tick(const struct revision *rev)
{
	struct replica *r = NULL;
	unsigned at = UINT_MAX;

	/* One that starts may have no control group yet. */
	while ((r = next(rev, r, &at)))
		if (r->process && r->state == REPLICA_READY)
			process_weigh(r->process, share(rev, at));
}
