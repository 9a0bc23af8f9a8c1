/* poll.c: waiting for sockets, and the watchdog that does so while predict runs
 * long. */
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/frame.h"

enum { BURST = 64, TERM_GRACE_MS = 30000 };

int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void watch(int fd, void *what)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = what};

	epoll_ctl(worker.epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

void poll_init(void)
{
	worker.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	watch(worker.control_fd, &worker.control_fd);
	watch(worker.kick_fd, &worker.kick_fd);
	watch(worker.stop_fd, &worker.stop_fd);
}

/* The listening socket is watched from READY to the end. */
void watch_listen(void)
{
	if (worker.ready && !worker.stopping && !worker.fenced)
		watch(worker.listen_fd, &worker.listen_fd);
	else
		epoll_ctl(worker.epoll_fd, EPOLL_CTL_DEL, worker.listen_fd,
			  NULL);
}

void poll_kick(void)
{
	uint64_t one = 1;

	if (write(worker.kick_fd, &one, sizeof one) < 0)
		return; /* full: it is kicked already */
}

static void drain(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof n) < 0)
		return;
}

static void on_event(const struct epoll_event *ev)
{
	void *what = ev->data.ptr;

	if (what == &worker.listen_fd) {
		conn_accept_all();
	} else if (what == &worker.control_fd) {
		control_readable();
	} else if (what == &worker.kick_fd) {
		drain(worker.kick_fd);
	} else if (what == &worker.stop_fd) {
		drain(worker.stop_fd);
		if (!worker.stopping) {
			worker.stopping = true;
			worker.stop_by_ns =
				now_ns() + (int64_t)TERM_GRACE_MS * 1000000;
			watch_listen();
			conn_close_idle();
			pthread_cond_broadcast(&worker.work);
		}
	} else {
		conn_event(what, ev->events);
	}
}

/* A predict that has passed its timeout cannot be stopped; its caller is
 * answered, and this process takes nothing more. */
static void check_timeouts(void)
{
	int64_t now = now_ns();
	int64_t limit = (int64_t)worker.predict_timeout_ms * 1000000;

	if (worker.stopping && now >= worker.stop_by_ns && worker.n_running)
		_exit(0);
	if (!limit)
		return;
	for (unsigned i = 0; i < worker.n_slots; i++) {
		struct request *r = worker.slots[i].req;
		int64_t ran = now - worker.slots[i].since_ns;
		char id[160];

		if (!r || r->answered || ran < limit)
			continue;
		snprintf(id, sizeof id, "%.*s", (int)r->id_len,
			 r->text.data ? r->text.data + r->id : "");
		if (r->conn)
			request_error(r, 504, "timeout",
				      "predict has been running for longer "
				      "than %u ms (predict_timeout); its "
				      "process is being replaced",
				      worker.predict_timeout_ms);
		r->answered = true;
		worker.fenced = true;
		watch_listen();
		control_send(FRAME_STUCK, (uint32_t)(ran / 1000000), id);
		/* Unanswered, so that the daemon may send them elsewhere. */
		conn_close_waiting();
	}
}

void poll_once(int timeout_ms)
{
	struct epoll_event events[BURST];
	int n = epoll_wait(worker.epoll_fd, events, BURST, timeout_ms);

	if (n <= 0)
		return;
	pthread_mutex_lock(&worker.lock);
	for (int i = 0; i < n; i++)
		on_event(&events[i]);
	conn_reap();
	pthread_mutex_unlock(&worker.lock);
}

/* How long the watchdog may wait in one go: it keeps the time too. */
static int patience_ms(void)
{
	return worker.predict_timeout_ms || worker.stopping ? 10 : 1000;
}

/* Polls for as long as the slot is busy (for good with several slots). */
static void watchdog_poll(void)
{
	pthread_mutex_lock(&worker.lock);
	if (worker.own_poll && !atomic_load(&worker.busy)) {
		/* It ended just now, and the slot polls by itself again: two
		 * pollers would take each other's events. */
		pthread_mutex_unlock(&worker.lock);
		return;
	}
	worker.watchdog_has = true;
	while (!worker.ended && !(worker.own_poll && worker.wants_role)) {
		int patience = patience_ms();

		pthread_mutex_unlock(&worker.lock);
		poll_once(patience);
		pthread_mutex_lock(&worker.lock);
		check_timeouts();
	}
	worker.watchdog_has = false;
	pthread_cond_broadcast(&worker.turn);
	pthread_mutex_unlock(&worker.lock);
}

/* Sleeps until the slot gets busy; false when it is time to end. */
static bool doze(void)
{
	bool ended;

	pthread_mutex_lock(&worker.lock);
	worker.dozing = true;
	while (worker.dozing && !worker.ended)
		pthread_cond_wait(&worker.wake, &worker.lock);
	ended = worker.ended;
	pthread_mutex_unlock(&worker.lock);
	return !ended;
}

void *watchdog_main(void *arg)
{
	const struct timespec tick = {0, OVERRUN_US * 1000};
	unsigned quiet = 0;

	(void)arg;
	while (!worker.ended) {
		if (!worker.own_poll) {
			watchdog_poll();
			continue;
		}
		nanosleep(&tick, NULL);
		if (!atomic_load(&worker.busy)) {
			if (++quiet >= DOZE_TICKS && !doze())
				break;
			continue;
		}
		quiet = 0;
		if (now_ns() - atomic_load(&worker.busy_since_ns) >=
		    (int64_t)OVERRUN_US * 1000)
			watchdog_poll();
	}
	return NULL;
}
