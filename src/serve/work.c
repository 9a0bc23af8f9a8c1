#include "serve/work.h"

#include <string.h>

#include "core/mem.h"

#define SECOND_NS UINT64_C(1000000000)

void work_begin(struct work *w, bool earlier)
{
	*w = (struct work){.began_earlier = earlier};
}

void work_told(struct work *w, const struct tally *t, uint64_t now_ns,
	       struct tally *sum)
{
	if (w->told_ns || !w->began_earlier)
		tally_add(sum, &w->told, t);
	w->told = *t;
	w->told_ns = now_ns;
}

uint64_t work_running_ns(const struct work *w, uint64_t now_ns)
{
	const struct tally *t = &w->told;
	uint64_t then = t->busy_ns > t->calls_ns ? t->busy_ns - t->calls_ns : 0;

	return t->busy ? then + t->busy * (now_ns - w->told_ns) : 0;
}

static uint64_t busy_ns(const struct work *w, uint64_t now_ns)
{
	return w->told.calls_ns + work_running_ns(w, now_ns);
}

void work_sample(struct work *w, uint64_t now_ns)
{
	/* Of one from before us nothing is known until it says something. */
	if (w->began_earlier && !w->told_ns)
		return;
	if (w->n_samples == WORK_SAMPLES)
		memmove(w->samples, w->samples + 1,
			--w->n_samples * sizeof *w->samples);
	w->samples[w->n_samples].at_ns = now_ns;
	w->samples[w->n_samples++].busy_ns = busy_ns(w, now_ns);
}

uint64_t work_lately_ns(const struct work *w, uint64_t now_ns,
			uint64_t *ret_span_ns)
{
	uint64_t busy = busy_ns(w, now_ns);
	unsigned i = 0;

	*ret_span_ns = 0;
	while (i < w->n_samples &&
	       now_ns - w->samples[i].at_ns > WORK_SECONDS * SECOND_NS)
		i++;
	if (i == w->n_samples)
		return 0;
	*ret_span_ns = now_ns - w->samples[i].at_ns;
	return busy > w->samples[i].busy_ns ? busy - w->samples[i].busy_ns : 0;
}
