#include <assert.h>
#include <poll.h>
#include <sched.h>
#include <time.h>

#include "core/mem.h"
#include "host/slots_parts.h"
#include "host/stages.h"

enum {
	NOBODY = -1,
	NS_PER_MS = 1000000,
	TICK_NS = 2000000,
	CALM_TICK_NS = 8000000,
	CALM_TICKS = 50, /* so many without need, and ticks are longer */
	DOZE_TICKS = 50, /* as many with a leader, and the watchdog dozes */
	WORTH_A_WAKE = 50000, /* ns: a run from which on another thread is woken
				 to lead */
};

static uint64_t now_ms(void)
{
	return slots__now_ns() / 1000000;
}

static void on_wake(uv_async_t *wake)
{
	(void)wake; /* the wait has ended: that was all */
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer; /* likewise */
}

void slots_init(struct slots *s)
{
	pthread_condattr_t clock;

	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&s->tick, &clock);
	list_init(&s->queue);
	list_init(&s->done);
	list_init(&s->idle);
	s->leader = NOBODY;
	s->curve.target = s->batch_target_ns;
	s->curve.most = MIN(s->batch_max, (uint32_t)CURVE_MOST);
	s->slot = mem_alloc(s->n * sizeof *s->slot);
	for (unsigned i = 0; i < s->n; i++) {
		s->slot[i].slots = s;
		s->slot[i].index = i;
		list_init(&s->slot[i].link);
		pthread_cond_init(&s->slot[i].go, NULL);
	}
	uv_async_init(s->loop, &s->wake, on_wake);
	uv_timer_init(s->loop, &s->timer);
}

void slots_wake(struct slots *s)
{
	uv_async_send(&s->wake);
}

/* ---- time limits ---- */

/* The work that a slot has been running for at least limit_ms, or NULL. */
static struct work *overdue_l(const struct slot *slot, uint64_t limit_ms,
			      uint64_t now, uint64_t *ret_ran)
{
	struct work *w = slot->work;

	/* It may have begun since the clock was read. */
	if (!w || w->state != WORK_RUNNING || w->unlimited ||
	    now < w->since_ms + limit_ms)
		return NULL;
	*ret_ran = now - w->since_ms;
	return w;
}

/* By the leader, without the lock: works that are late end in `done`, and done
 * work is ended by the leader, who is here. */
static void judge(struct slots *s, struct slot *slot, uint64_t now)
{
	struct work *first, *w;
	uint64_t ran = 0;
	bool was_late, stuck;

	pthread_mutex_lock(&s->lock);
	first = overdue_l(slot, s->limit_ms, now, &ran);
	was_late = first && first->late;
	for (w = first; w; w = w->behind)
		w->late = w->unwanted = true;
	pthread_mutex_unlock(&s->lock);
	if (!first)
		return;
	for (w = first; w && !was_late; w = w->behind)
		w->on_late(w, ran);
	if (slot->stuck)
		return;
	pthread_mutex_lock(&s->lock);
	stuck = overdue_l(slot, s->limit_ms + s->grace_ms, now, &ran) == first;
	slot->stuck = stuck;
	s->n_stuck += stuck;
	pthread_mutex_unlock(&s->lock);
	if (!stuck)
		return;
	first->on_stuck(first, ran);
	if (s->n_stuck == s->n)
		s->on_all_stuck(s->data);
}

static void check_limits(struct slots *s)
{
	uint64_t now = now_ms();

	for (unsigned i = 0; i < s->n; i++)
		judge(s, &s->slot[i], now);
}

/* The ms until the leader should look again, or 0: never. */
static uint64_t next_limit_l(const struct slots *s)
{
	uint64_t next = UINT64_MAX, now;

	if (!s->limit_ms || (!s->n_busy && list_empty(&s->queue)))
		return 0;
	now = now_ms();
	/* A slot that has just been woken takes what waits; that cannot be late
	 * before a whole limit from now. */
	if (!list_empty(&s->queue))
		next = s->limit_ms;
	for (unsigned i = 0; i < s->n; i++) {
		const struct slot *slot = &s->slot[i];
		uint64_t end;

		if (!slot->work || slot->stuck ||
		    slot->work->state != WORK_RUNNING || slot->work->unlimited)
			continue;
		end = slot->work->since_ms + s->limit_ms +
		      (slot->work->late ? s->grace_ms : 0);
		next = MIN(next, end > now ? end - now : 1);
	}
	return next == UINT64_MAX ? 0 : next;
}

/* ---- leading ---- */

static void end_done_l(struct slots *s)
{
	while (!list_empty(&s->done)) {
		struct work *w = LIST_ENTRY(s->done.next, struct work, link);

		list_remove(&w->link);
		w->state = WORK_IDLE;
		pthread_mutex_unlock(&s->lock);
		w->on_done(w);
		pthread_mutex_lock(&s->lock);
	}
}

/* The loop's clock is too coarse for what most batches wait for. */
static void nap_ns(const uv_loop_t *loop, uint64_t ns)
{
	struct pollfd on = {.fd = uv_backend_fd(loop), .events = POLLIN};
	struct timespec time = {.tv_nsec = (long)ns};

	ppoll(&on, 1, &time, NULL);
}

static uint64_t ms_of(uint64_t ns)
{
	return (ns + NS_PER_MS - 1) / NS_PER_MS;
}

/* The loop's next wait ends after so long, or before: a timer that is due
 * sooner is left to run, which costs less than to set one for each turn. */
static void wait_at_most(struct slots *s, uint64_t ms)
{
	if (uv_is_active((uv_handle_t *)&s->timer) &&
	    uv_timer_get_due_in(&s->timer) <= ms)
		return;
	uv_update_time(s->loop);
	uv_timer_start(&s->timer, on_timer, ms, 0);
}

/* Until there is work for this thread, or, as the watchdog, a slot is free. */
static void lead_l(struct slots *s, int who)
{
	bool watchdog = who == (int)s->n;

	assert(s->leader == NOBODY);
	s->leader = who;
	while (!s->ended) {
		uint64_t wait, nap, hold = 0, tell;
		bool ask;

		end_done_l(s);
		if (s->news) {
			s->news = false;
			pthread_mutex_unlock(&s->lock);
			s->on_learned(s->data);
			pthread_mutex_lock(&s->lock);
		}
		tell = stages_tell_l(s);
		if (watchdog ? !list_empty(&s->idle)
			     : slots__is_due_l(s, &hold))
			break;
		wait = next_limit_l(s);
		if (tell)
			wait = wait ? MIN(wait, tell) : tell;
		ask = hold && !s->asked;
		nap = hold < NS_PER_MS && !ask ? hold : 0;
		if (hold && !nap)
			wait = MIN(wait ? wait : UINT64_MAX, ms_of(hold));
		s->asked = true;
		pthread_mutex_unlock(&s->lock);
		if (nap)
			nap_ns(s->loop, nap);
		if (wait)
			wait_at_most(s, wait);
		uv_run(s->loop, ask || nap ? UV_RUN_NOWAIT : UV_RUN_ONCE);
		if (s->limit_ms && wait)
			check_limits(s);
		pthread_mutex_lock(&s->lock);
	}
	s->leader = NOBODY;
}

/* ---- slots ---- */

/* Before a run: somebody must be there to lead if it takes long. */
static void provide_leader_l(struct slots *s)
{
	if (s->leader != NOBODY)
		return;
	if (s->usual_ns > WORTH_A_WAKE && slots__wake_idle_l(s))
		return;
	if (s->dozing) {
		s->dozing = false;
		pthread_cond_signal(&s->tick);
	}
}

/* A run for those that it was the last of. */
static void count_l(struct slots *s, const struct work *first, uint64_t took)
{
	uint32_t n = 0;

	if (first->unlimited || first->uncounted)
		return;
	for (const struct work *w = first; w; w = w->behind)
		n += !w->again;
	if (n)
		tally_call(&s->done_so_far, n, took);
	else
		s->done_so_far.calls_ns += took;
}

static void run_l(struct slots *s, struct slot *slot)
{
	struct work *first = slots__take_l(s);
	uint64_t began = slots__now_ns(), took;

	for (struct work *w = first; w; w = w->behind) {
		w->slot = slot->index;
		w->since_ms = began / 1000000;
		w->began_ns = began;
	}
	slot->work = first;
	s->n_busy++;
	s->serial++;
	s->changed = true;
	if (!list_empty(&s->queue))
		slots__wake_idle_l(s);
	provide_leader_l(s);
	pthread_mutex_unlock(&s->lock);

	first->run(first);

	took = slots__now_ns() - began;
	pthread_mutex_lock(&s->lock);
	s->usual_ns += took / 8 - s->usual_ns / 8;
	slot->work = NULL;
	s->n_busy--;
	s->serial++;
	s->changed = true;
	for (struct work *w = first; w; w = w->behind)
		w->ran_ns = took;
	count_l(s, first, took);
	if (s->batch_target_ns)
		slots__learn_l(s, first, took);
	else
		/* Of callers who come at any time fewer than half come within:
		 * a slot that got more would be behind anyway. */
		s->callers.window = MIN(s->batch_interval_ns, took / 4);
	slots__put_l(s, first);
	if (s->leader != NOBODY)
		uv_async_send(&s->wake);
	else
		s->asked = false;
}

static void wait_l(struct slots *s, struct slot *slot)
{
	list_push_front(&s->idle, &slot->link);
	/* A watchdog that leads gives the lead back. */
	if (s->leader == (int)s->n)
		uv_async_send(&s->wake);
	/* Whoever wakes a slot takes it off the list. */
	while (!list_empty(&slot->link) && !s->ended)
		pthread_cond_wait(&slot->go, &s->lock);
	list_remove(&slot->link);
}

static void *slot_main(void *data)
{
	struct slot *slot = data;
	struct slots *s = slot->slots;

	/* Work in bulk, to the kernel: a wake-up does not push the daemon off
	 * the core they share, and so the next requests come together. The
	 * watchdog stays as it is: it is to come in time. */
	sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
	pthread_mutex_lock(&s->lock);
	/* A stuck run that has ended all the same leaves its slot unused: the
	 * process is being replaced. */
	while (!s->ended && !slot->stuck) {
		bool due = slots__is_due_l(s, NULL);

		if (s->leader == NOBODY && (!due || !list_empty(&s->done)))
			lead_l(s, (int)slot->index);
		else if (due)
			run_l(s, slot);
		else
			wait_l(s, slot);
	}
	while (!s->ended)
		pthread_cond_wait(&slot->go, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- the watchdog ---- */

static void tick_l(struct slots *s, long ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ns;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&s->tick, &s->lock, &until);
}

static void *watchdog_main(void *data)
{
	struct slots *s = data;
	uint64_t serial = 0;
	unsigned quiet = 0, calm = 0;

	pthread_mutex_lock(&s->lock);
	while (!s->ended) {
		calm = MIN(calm + 1, (unsigned)CALM_TICKS);
		if (s->leader != NOBODY) {
			quiet++;
		} else if (s->serial == serial) {
			calm = 0;
			if (!slots__wake_idle_l(s)) {
				lead_l(s, (int)s->n);
				slots__wake_idle_l(s);
				quiet = 0;
			}
		}
		serial = s->serial;
		if (quiet < DOZE_TICKS) {
			tick_l(s, calm < CALM_TICKS ? TICK_NS : CALM_TICK_NS);
			continue;
		}
		quiet = 0;
		s->dozing = true;
		while (s->dozing && !s->ended)
			pthread_cond_wait(&s->tick, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- from outside ---- */

int slots_run(struct slots *s)
{
	unsigned made = 1;
	bool watched;
	int rc;

	/* None begins before all are there. */
	pthread_mutex_lock(&s->lock);
	rc = pthread_create(&s->watchdog, NULL, watchdog_main, s);
	watched = !rc;
	while (!rc && made < s->n) {
		rc = pthread_create(&s->slot[made].thread, NULL, slot_main,
				    &s->slot[made]);
		made += !rc;
	}
	s->ended = rc != 0;
	pthread_mutex_unlock(&s->lock);
	slot_main(&s->slot[0]);
	for (unsigned i = 1; i < made; i++)
		pthread_join(s->slot[i].thread, NULL);
	if (watched)
		pthread_join(s->watchdog, NULL);
	return rc;
}

void slots_fini(struct slots *s)
{
	uv_close((uv_handle_t *)&s->wake, NULL);
	uv_close((uv_handle_t *)&s->timer, NULL);
	for (unsigned i = 0; i < s->n; i++)
		pthread_cond_destroy(&s->slot[i].go);
	pthread_cond_destroy(&s->tick);
	pthread_mutex_destroy(&s->lock);
	free(mem_take(&s->slot));
}

void slots_end(struct slots *s)
{
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	for (unsigned i = 0; i < s->n; i++)
		pthread_cond_signal(&s->slot[i].go);
	pthread_cond_signal(&s->tick);
	pthread_mutex_unlock(&s->lock);
}
