#include "host/stages.h"

#include "host/slots_parts.h"

/* What there is now, but for the time of what runs: that changes always.
 * Returns it in ns. */
static uint64_t look_l(const struct slots *s, uint64_t now_ns,
		       struct tally *ret)
{
	uint64_t running = 0;

	*ret = s->done_so_far;
	for (const struct list *it = s->queue.next; it != &s->queue;
	     it = it->next)
		ret->ready++;
	for (unsigned i = 0; i < s->n; i++) {
		const struct work *w = s->slot[i].work;

		if (!w || w->unlimited)
			continue;
		ret->busy++;
		running += now_ns - w->began_ns;
		for (; w; w = w->behind)
			ret->predict++;
	}
	return running;
}

uint64_t stages_tell_l(struct slots *s)
{
	uint64_t now, running;
	struct tally t;

	if (!s->changed || !s->on_tell)
		return 0;
	now = slots__now_ns();
	if (now / 1000000 < s->tell_at_ms)
		return s->tell_at_ms - now / 1000000;
	s->changed = false;
	running = look_l(s, now, &t);
	if (tally_same(&t, &s->said))
		return 0;
	s->said = t;
	s->tell_at_ms = now / 1000000 + STAGES_EVERY_MS;
	t.busy_ns = t.calls_ns + running;
	pthread_mutex_unlock(&s->lock);
	s->on_tell(s->data, &t);
	pthread_mutex_lock(&s->lock);
	return 0;
}

void stages_forget(struct slots *s)
{
	pthread_mutex_lock(&s->lock);
	s->said = (struct tally){.ready = UINT32_MAX};
	s->changed = true;
	pthread_mutex_unlock(&s->lock);
}
