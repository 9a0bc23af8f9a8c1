/* What waits for a slot, and what of it a slot takes. */
#include <time.h>

#include "core/mem.h"
#include "host/slots_parts.h"
#include "policy/batch.h"

uint64_t slots__now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

bool slots__wake_idle_l(struct slots *s)
{
	struct slot *slot;

	if (list_empty(&s->idle))
		return false;
	slot = LIST_ENTRY(s->idle.next, struct slot, link);
	list_remove(&slot->link);
	pthread_cond_signal(&slot->go);
	return true;
}

/* ---- batches ---- */

static struct work *oldest_l(const struct slots *s)
{
	return LIST_ENTRY(s->queue.next, struct work, link);
}

/* What a batch with the oldest may be at most. */
static uint32_t most_l(const struct slots *s)
{
	if (oldest_l(s)->alone || s->batch_max < 2)
		return 1;
	return s->batch_target_ns ? curve_size(&s->curve) : s->batch_max;
}

static bool joins(const struct slots *s, const struct work *w)
{
	return !w->alone && s->fit(oldest_l(s), w);
}

/* Returns how many of those that wait fit to the oldest, `most` at most, and
 * whether all of them do. */
static uint32_t count_fitting_l(const struct slots *s, uint32_t most,
				bool *ret_all)
{
	const struct list *it = s->queue.next->next;
	uint32_t n = 1;
	bool all = true;

	for (; it != &s->queue && n < most; it = it->next) {
		bool fits = joins(s, LIST_ENTRY(it, struct work, link));

		n += fits;
		all &= fits;
	}
	*ret_all = all;
	return n;
}

/* Who is coming, and how long it pays to wait: for bodies that are being read
 * the interval or what is learned, for callers who may ask again their window.
 */
static void expect_l(const struct slots *s, struct batch_facts *f, uint64_t now)
{
	uint32_t coming = atomic_load(&s->n_coming);

	f->expected =
		MAX(f->waiting + coming, batch_expected(&s->callers, now));
	if (!coming)
		f->interval = s->callers.window;
	else if (s->batch_target_ns)
		f->interval = curve_wait(&s->curve, f->waiting);
}

bool slots__is_due_l(struct slots *s, uint64_t *ret_hold)
{
	struct batch_facts f = {.slot_free = true,
				.interval = s->batch_interval_ns};
	struct batch_verdict v;
	uint64_t now;
	bool all;

	if (list_empty(&s->queue))
		return false;
	f.max = most_l(s);
	if (f.max == 1)
		return true;
	f.waiting = count_fitting_l(s, f.max, &all);
	if (!s->asked && f.waiting < f.max) {
		if (ret_hold)
			*ret_hold = 1;
		return false;
	}
	now = slots__now_ns();
	/* While a batch ran, nobody was waited for. */
	f.age = now - MAX(oldest_l(s)->queued_ns, s->callers.ended);
	/* Those that do not fit to it shall not wait for more that do. */
	if (all)
		expect_l(s, &f, now);
	v = batch_decide(&f);
	if (!v.take && ret_hold)
		*ret_hold = v.wait;
	return v.take > 0;
}

struct work *slots__take_l(struct slots *s)
{
	struct work *first = oldest_l(s), *last = first;
	uint32_t most = most_l(s), n = 1;
	struct list *it = first->link.next, *next;

	for (; it != &s->queue && n < most; it = next) {
		struct work *w = LIST_ENTRY(it, struct work, link);

		next = it->next;
		if (!joins(s, w))
			continue;
		list_remove(it);
		w->state = WORK_RUNNING;
		w->first = first;
		last = last->behind = w;
		n++;
	}
	list_remove(&first->link);
	first->state = WORK_RUNNING;
	first->first = first;
	last->behind = NULL;
	return first;
}

void slots__learn_l(struct slots *s, const struct work *first, uint64_t took)
{
	uint32_t n = 0;

	if (first->alone || first->again)
		return;
	for (const struct work *w = first; w; w = w->behind)
		n++;
	curve_learn(&s->curve, n, took);
	s->callers.window = curve_window(&s->curve, n);
	s->news |= curve_has_news(&s->curve, &s->told, slots__now_ns());
}

void slots_write_curve(struct slots *s, struct buf *out)
{
	pthread_mutex_lock(&s->lock);
	if (s->told.at)
		curve_write(&s->curve, out);
	pthread_mutex_unlock(&s->lock);
}

static void note_answers_l(struct slots *s, uint32_t answered)
{
	uint32_t left = 0;

	for (const struct list *it = s->queue.next;
	     it != &s->queue && left < s->batch_max; it = it->next)
		left++;
	if (s->batch_target_ns && answered)
		curve_there(&s->curve, answered + left / s->n);
	batch_answered(&s->callers, answered, left, slots__now_ns());
}

void slots__put_l(struct slots *s, struct work *first)
{
	struct list *at = &s->queue;
	uint32_t answered = 0;

	for (struct work *w = first; w; w = w->behind) {
		if (w->again && !w->unwanted) {
			w->again = false;
			w->alone = true;
			w->state = WORK_QUEUED;
			list_add_after(at, &w->link);
			at = &w->link;
		} else {
			w->state = WORK_DONE;
			list_push_back(&s->done, &w->link);
			answered++;
		}
	}
	if (s->batch_max > 1)
		note_answers_l(s, answered);
}

void slots_add(struct slots *s, struct work *w)
{
	bool batches;

	pthread_mutex_lock(&s->lock);
	batches = s->batch_max > 1;
	w->state = WORK_QUEUED;
	w->late = w->again = w->unwanted = false;
	list_push_back(&s->queue, &w->link);
	s->changed = true;
	if (batches || w->timed)
		w->queued_ns = slots__now_ns();
	if (batches)
		batch_arrived(&s->callers, w->queued_ns);
	/* A slot that leads sees it when this callback has returned; with
	 * batches it takes all that is there. */
	if (s->leader == (int)s->n || (!batches && w->link.prev != &s->queue))
		slots__wake_idle_l(s);
	pthread_mutex_unlock(&s->lock);
}

static void take_back_l(struct work *w)
{
	list_remove(&w->link);
	w->state = WORK_IDLE;
}

struct work *slots_take_oldest(struct slots *s)
{
	struct work *w = NULL;

	pthread_mutex_lock(&s->lock);
	if (!list_empty(&s->queue)) {
		w = LIST_ENTRY(s->queue.next, struct work, link);
		take_back_l(w);
	}
	pthread_mutex_unlock(&s->lock);
	return w;
}

static bool all_unwanted(const struct work *w)
{
	while (w && w->unwanted)
		w = w->behind;
	return !w;
}

static void count_gone_l(struct slots *s, bool waited)
{
	if (waited)
		s->done_so_far.gone_ready++;
	else
		s->done_so_far.gone_predict++;
	s->changed = true;
}

bool slots_give_up(struct slots *s, struct work *w,
		   void (*stop)(struct work *first))
{
	bool waits;

	pthread_mutex_lock(&s->lock);
	waits = w->state == WORK_QUEUED;
	w->unwanted = true;
	if (!w->late)
		count_gone_l(s, waits);
	if (waits)
		take_back_l(w);
	else if (stop && w->state == WORK_RUNNING && all_unwanted(w->first))
		stop(w->first);
	pthread_mutex_unlock(&s->lock);
	return waits;
}

void slots_coming(struct slots *s, int n)
{
	atomic_fetch_add(&s->n_coming, (unsigned)n);
}

void slots_no_batches(struct slots *s)
{
	pthread_mutex_lock(&s->lock);
	s->batch_max = 1;
	pthread_mutex_unlock(&s->lock);
}

bool slots_are_idle(struct slots *s)
{
	bool idle;

	pthread_mutex_lock(&s->lock);
	idle = !s->n_busy && list_empty(&s->queue) && list_empty(&s->done);
	pthread_mutex_unlock(&s->lock);
	return idle;
}

bool slots_are_stuck(const struct slots *s)
{
	return s->n_stuck == s->n;
}
