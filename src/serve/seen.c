#include "serve/seen.h"

#include "core/mem.h"
#include "serve/replica.h"

const char *const seen_words[SEEN_STAGES] = {
	[SEEN_QUEUE] = "queue",	  [SEEN_PRE] = "pre",
	[SEEN_READY] = "ready",	  [SEEN_PREDICT] = "predict",
	[SEEN_POST] = "post",	  [SEEN_REPLICA] = "replica",
	[SEEN_ANSWER] = "answer",
};

static const struct spec *spec_of(const struct api *a)
{
	return a->want ? a->want->spec : a->live ? a->live->spec : NULL;
}

bool seen_has_slots(const struct api *a)
{
	const struct spec *spec = spec_of(a);

	return spec && spec->predictor.type != PREDICTOR_COMMAND;
}

bool seen_has_stage(const struct api *a, enum seen_stage stage)
{
	if (stage == SEEN_QUEUE || stage == SEEN_ANSWER)
		return true;
	return seen_has_slots(a) == (stage != SEEN_REPLICA);
}

bool seen_has_batches(const struct api *a)
{
	const struct spec *spec = spec_of(a);

	return spec && spec->predictor.max_batch_size > 1;
}

double seen_busy(const struct replica *r)
{
	uint64_t span, busy = work_lately_ns(&r->work, uv_hrtime(), &span);

	return r->slots && span
		       ? MIN((double)busy / (double)span / r->slots, 1.0)
		       : -1;
}

/* What is summed over all replicas. */
struct sums {
	struct seen *seen;
	uint64_t now_ns, running_ns;
	double busy_ns, slot_ns; /* lately */
};

static void add_replica(struct sums *s, const struct replica *r)
{
	const struct tally *t = &r->work.told;
	uint32_t *stages = s->seen->stages;
	uint64_t span, busy = work_lately_ns(&r->work, s->now_ns, &span);

	stages[SEEN_PRE] += t->pre;
	stages[SEEN_READY] += t->ready;
	stages[SEEN_PREDICT] += t->predict;
	stages[SEEN_POST] += t->post;
	if (!r->slots)
		stages[SEEN_REPLICA] += r->placed;
	stages[SEEN_ANSWER] += r->in_flight - MIN(r->placed, r->in_flight);
	s->running_ns += work_running_ns(&r->work, s->now_ns);
	if (!replica_is_ready(r))
		return;
	s->seen->slots += r->slots;
	s->busy_ns += (double)busy;
	s->slot_ns += (double)span * r->slots;
}

static void add_all(struct sums *s, const struct list *replicas)
{
	for (const struct list *it = replicas->next; it != replicas;
	     it = it->next)
		add_replica(s, CONTAINER_OF((struct list *)(uintptr_t)it,
					    struct replica, link));
}

static struct sums sums_of(const struct api *a, struct seen *seen)
{
	struct sums s = {.seen = seen, .now_ns = uv_hrtime()};

	*seen = (struct seen){.stages[SEEN_QUEUE] = a->gate.queued};
	for (const struct list *it = a->revisions.next; it != &a->revisions;
	     it = it->next) {
		const struct revision *rev = CONTAINER_OF(
			(struct list *)(uintptr_t)it, struct revision, link);

		add_all(&s, &rev->replicas);
		add_all(&s, &rev->gone);
	}
	seen->busy = s.slot_ns > 0 ? MIN(s.busy_ns / s.slot_ns, 1.0) : -1;
	return s;
}

struct seen seen_of(const struct api *a)
{
	struct seen seen;

	sums_of(a, &seen);
	return seen;
}

uint64_t seen_busy_ns(struct api *a)
{
	struct seen unused;
	struct sums s = sums_of(a, &unused);

	/* A replica that says late that a predict is over was believed to run
	 * it meanwhile. */
	a->busy_ns =
		MAX(a->busy_ns, a->done.calls_ns + a->lost_ns + s.running_ns);
	return a->busy_ns;
}
