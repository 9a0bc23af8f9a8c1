/* Who waits for sockets, and for how long.
 *
 * Every event is handled under worker.lock by whoever leads. Two threads may
 * be inside epoll_wait for a moment while the lead changes hands: events are
 * level-triggered, reads never block, and a serial number tells an event of a
 * connection that is gone.
 *
 *   one slot, serving: MAIN leads ──overruns a tick──▶ LOOPER leads
 *                           ◀──── queue is empty again ────┘
 *   else:              LOOPER leads
 */
#include "stages.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "loop/fork.h"

enum {
	TICK_MS = 1,
	TICKS_BEFORE_DOZE = 50, /* ticks without work, then no more of them */
	DEAF_MS = 100,
};

struct worker worker;

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

void worker_lock(void)
{
	pthread_mutex_lock(&worker.lock);
}

void worker_unlock(void)
{
	pthread_mutex_unlock(&worker.lock);
}

int poll_watch(int fd, uint32_t serial, uint32_t events, bool known)
{
	struct epoll_event e = {
		.events = events,
		.data.u64 = (uint64_t)serial << 32 | (uint32_t)fd,
	};

	return epoll_ctl(worker.epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
			 fd, &e);
}

void poll_wake(int eventfd)
{
	static const uint64_t one = 1;
	int saved = errno;

	/* Full means that it is awake already. */
	if (write(eventfd, &one, sizeof one) < 0)
		errno = saved;
}

static void drain_eventfd(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof count) < 0)
		return;
}

void poll_deafen(void)
{
	worker.deaf_until_ms = now_ms() + DEAF_MS;
	poll_watch(worker.listener, 0, 0, true);
}

void poll_hear(void)
{
	if (!worker.deaf_until_ms)
		return;
	worker.deaf_until_ms = 0;
	if (worker.state == WORKER_SERVING)
		poll_watch(worker.listener, 0, EPOLLIN, true);
}

/* User code may have closed some. */
static void hear_in_time(void)
{
	if (worker.deaf_until_ms && now_ms() >= worker.deaf_until_ms)
		poll_hear();
}

void poll_listen(void)
{
	poll_watch(worker.listener, 0, EPOLLIN, false);
}

/* --- stopping --------------------------------------------------------------
 */

void poll_stop(uint64_t grace_ms)
{
	enum worker_state was = worker.state;

	if (was == WORKER_STOPPING || was == WORKER_DRAINED) {
		worker.exit_at_ms = MIN(worker.exit_at_ms, now_ms() + grace_ms);
		return;
	}
	if (was == WORKER_LOADING) {
		/* The main thread is in the user's code for who knows how
		 * long, and nothing is in flight. */
		control_send(FRAME_BYE, 0, NULL, 0, true);
		process_exit(0);
	}
	conn_accept(); /* requests may lie in connections that wait */
	worker.state = WORKER_STOPPING;
	worker.exit_at_ms = now_ms() + grace_ms;
	epoll_ctl(worker.epoll, EPOLL_CTL_DEL, worker.listener, NULL);
	for (size_t i = 0; i < worker.conns_cap; i++)
		if (worker.conns[i])
			conn_drain(worker.conns[i]);
	/* The lead is the looper's from here on: it knows the time. */
	worker.lead = LEAD_LOOPER;
	pthread_cond_signal(&worker.tick);
	poll_wake(worker.wake);
}

static bool has_work(void)
{
	if (!list_empty(&worker.queue) || worker.n_busy > worker.n_stuck ||
	    worker.n_released || worker.n_posts)
		return true;
	for (size_t i = 0; i < worker.conns_cap; i++) {
		const struct conn *c = worker.conns[i];

		if (c && (c->request || c->state == CONN_WRITING))
			return true;
	}
	return false;
}

static void check_stop(void)
{
	if (worker.state == WORKER_STOPPING && !has_work()) {
		worker.state = WORKER_DRAINED;
		worker.exit_at_ms =
			MIN(worker.exit_at_ms, now_ms() + ATEXIT_MS);
		if (worker.slots[0].stuck) { /* it cannot say goodbye */
			control_send(FRAME_BYE, 0, NULL, 0, true);
			process_exit(0);
		}
		poll_wake(worker.slots[0].wake);
	}
	if (worker.exit_at_ms && now_ms() >= worker.exit_at_ms) {
		if (worker.state == WORKER_DRAINED)
			process_exit(0); /* atexit handlers that hang */
		dprintf(STDERR_FILENO,
			"soma: the grace period is over and %s: the process "
			"ends\n",
			worker.n_busy	 ? "a predict still runs"
			: worker.n_posts ? "a post_predict still runs"
					 : "a client is still there");
		process_exit(1);
	}
}

/* --- events ----------------------------------------------------------------
 */

/* The main thread is to run the handlers of the user's code. */
static void forward_signal(bool as_main)
{
	char numbers[64];

	while (read(worker.signals[0], numbers, sizeof numbers) > 0)
		;
	if (as_main)
		return;
	if (worker.main_idle)
		poll_wake(worker.wake);
	poll_wake(worker.slots[0].wake);
}

/* The lock is held. */
static void handle(const struct epoll_event *events, int n, bool as_main)
{
	for (int i = 0; i < n; i++) {
		int fd = (int)(uint32_t)events[i].data.u64;
		uint32_t serial = (uint32_t)(events[i].data.u64 >> 32);
		struct conn *c;

		if (fd == worker.wake && !serial) {
			/* A main thread that is about to see it must see it. */
			if (as_main || !worker.main_idle)
				drain_eventfd(fd);
		} else if (fd == worker.signals[0] && !serial) {
			forward_signal(as_main);
		} else if (fd == worker.control && !serial) {
			control_event();
		} else if (fd == worker.listener && !serial) {
			if (worker.state == WORKER_SERVING)
				conn_accept();
		} else if ((size_t)fd < worker.conns_cap) {
			c = worker.conns[fd];
			if (c && c->serial == serial)
				conn_event(c, events[i].events);
		}
	}
	if (atomic_exchange(&worker.term, false))
		poll_stop(STOP_GRACE_MS);
}

/* --- the main thread -------------------------------------------------------
 */

/* epoll_wait's unit is too coarse for what a batch waits for. */
static void wait_ns(int64_t timeout_ns)
{
	struct pollfd on = {.fd = worker.epoll, .events = POLLIN};
	struct timespec time = {.tv_sec = timeout_ns / 1000000000,
				.tv_nsec = timeout_ns % 1000000000};

	ppoll(&on, 1, &time, NULL);
}

void poll_as_main(int64_t timeout_ns)
{
	struct epoll_event events[EVENTS_MAX];
	int n, timeout_ms = timeout_ns < 0 ? -1 : 0;

	if (timeout_ns) {
		worker_lock();
		if (worker.lead != LEAD_MAIN || slots_have_work()) {
			worker_unlock();
			return;
		}
		worker.main_idle = true;
		if (worker.deaf_until_ms && timeout_ns < 0)
			timeout_ms = DEAF_MS;
		worker_unlock();
	}
	if (timeout_ns > 0)
		wait_ns(timeout_ns);
	n = epoll_wait(worker.epoll, events, EVENTS_MAX, timeout_ms);
	worker_lock();
	worker.main_idle = false;
	worker.polls++;
	hear_in_time();
	handle(events, n, true);
	worker_unlock();
}

void poll_lead(void)
{
	if (worker.lead == LEAD_MAIN)
		return;
	worker.lead = LEAD_MAIN;
	poll_wake(worker.prod);
}

void poll_rouse(void)
{
	if (!worker.dozing)
		return;
	worker.dozing = false;
	pthread_cond_signal(&worker.tick);
}

void poll_hand_over(void)
{
	if (worker.lead == LEAD_LOOPER)
		return;
	worker.lead = LEAD_LOOPER;
	pthread_cond_signal(&worker.tick);
}

/* --- the looper ------------------------------------------------------------
 */

/* While the main thread leads: looks once a tick whether it still does. The
 * lock is held. */
static void stand_by(unsigned *idle_ticks)
{
	uint64_t seen = worker.polls;
	struct timespec until;

	if (*idle_ticks >= TICKS_BEFORE_DOZE && stages_told()) {
		worker.dozing = true;
		while (worker.dozing && worker.lead == LEAD_MAIN)
			pthread_cond_wait(&worker.tick, &worker.lock);
		worker.dozing = false;
		*idle_ticks = 0;
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TICK_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&worker.tick, &worker.lock, &until);
	stages_tell();
	if (worker.lead != LEAD_MAIN)
		return;
	if (worker.main_idle) {
		(*idle_ticks)++;
	} else {
		*idle_ticks = 0;
		if (worker.polls == seen)
			worker.lead = LEAD_LOOPER;
	}
}

static int patience(void)
{
	int ms = slots_check(), tell_ms = stages_tell();

	if (tell_ms >= 0)
		ms = ms < 0 ? tell_ms : MIN(ms, tell_ms);
	if (worker.exit_at_ms) {
		uint64_t now = now_ms();
		int left = worker.exit_at_ms <= now
				   ? 0
				   : (int)MIN(worker.exit_at_ms - now, 1000000);

		ms = ms < 0 ? left : MIN(ms, left);
	}
	if (worker.deaf_until_ms)
		ms = ms < 0 ? DEAF_MS : MIN(ms, DEAF_MS);
	return ms;
}

static void lead(void)
{
	struct epoll_event events[EVENTS_MAX];
	struct pollfd on[2] = {{.fd = worker.epoll, .events = POLLIN},
			       {.fd = worker.prod, .events = POLLIN}};
	int ms = patience(), n = 0;

	worker_unlock();
	if (poll(on, 2, ms) >= 0) {
		if (on[1].revents)
			drain_eventfd(worker.prod);
		if (on[0].revents)
			n = epoll_wait(worker.epoll, events, EVENTS_MAX, 0);
	}
	worker_lock();
	hear_in_time();
	handle(events, n, false);
	slots_check();
	check_stop();
}

static void *looper(void *unused)
{
	unsigned idle_ticks = 0;

	worker_lock();
	for (;;) {
		if (worker.lead == LEAD_MAIN)
			stand_by(&idle_ticks);
		else
			lead();
	}
	return unused;
}

int poll_start(void)
{
	pthread_condattr_t monotonic;
	pthread_attr_t small;
	pthread_t thread;
	sigset_t all, before;
	int rc;

	pthread_mutex_init(&worker.lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&worker.tick, &monotonic);
	pthread_condattr_destroy(&monotonic);
	buf_init(&worker.head, SIZE_MAX / 4);
	worker.epoll = epoll_create1(EPOLL_CLOEXEC);
	worker.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker.prod = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker.epoll < 0 || worker.wake < 0 || worker.prod < 0 ||
	    pipe2(worker.signals, O_CLOEXEC | O_NONBLOCK) ||
	    poll_watch(worker.wake, 0, EPOLLIN, false) ||
	    poll_watch(worker.signals[0], 0, EPOLLIN, false) ||
	    poll_watch(worker.control, 0, EPOLLIN, false))
		return -1;

	/* A fork is nearly done, and its first request may be there: its main
	 * thread leads at once, and the looper does if that takes long. */
	if (fork_made_us() && worker.n_slots == 1)
		worker.lead = LEAD_MAIN;
	/* Signals are the main thread's: Python runs handlers there. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 * 1024);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &small, looper, NULL);
	pthread_attr_destroy(&small);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = rc;
	return rc ? -1 : 0;
}
