/* Slots: the Python threads that run predict. */
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/err.h"

static __thread struct request *current;

struct request *slot_current(void)
{
	return current;
}

void slot_set_current(struct request *r)
{
	current = r;
}

void slots_init(void)
{
	list_init(&worker.queue);
	list_init(&worker.spare);
	list_init(&worker.idle);
	worker.slots = mem_alloc(worker.n_slots * sizeof *worker.slots);
	for (unsigned i = 0; i < worker.n_slots; i++) {
		struct slot *s = &worker.slots[i];

		list_init(&s->link);
		s->index = i;
		s->wake = eventfd(0, EFD_CLOEXEC);
		buf_init(&s->out, SIZE_MAX / 4);
	}
	hooks_init();
}

bool slots_have_work(void)
{
	return !list_empty(&worker.queue) && !hooks_pile_up();
}

void slot_queue(struct request *r)
{
	r->state = REQUEST_QUEUED;
	list_push_back(&worker.queue, &r->link);
	slot_wake();
}

void slot_wake(void)
{
	if (!list_empty(&worker.idle)) {
		struct slot *s =
			LIST_ENTRY(worker.idle.next, struct slot, link);

		list_remove(&s->link);
		poll_wake(s->wake);
	} else if (worker.main_idle) {
		poll_wake(worker.wake);
	}
}

/* --- predicts that run too long --------------------------------------------
 */

static void give_up(struct slot *s, uint64_t ran_ms)
{
	struct request *r = s->request;
	bool begun = r->stream && r->conn && r->conn->state == CONN_STREAMING;
	char limit[32], text[ERR_MSG_MAX];

	s->stuck = true;
	worker.n_stuck++;
	snprintf(text, sizeof text,
		 "%s ran longer than %s%s (predict_timeout); the process is "
		 "replaced",
		 call_name(r),
		 str_human_ms((int64_t)worker.predict_timeout_ms, limit),
		 begun ? " without a chunk" : "");
	if (begun)
		stream_give_up(r->stream, text);
	else if (r->conn)
		conn_refuse(r->conn, 504, "timeout", "%s", text);
	control_send(FRAME_STUCK, (uint32_t)ran_ms, r->id, strlen(r->id),
		     false); /* QUERY asks again */
	if (worker.n_stuck < worker.n_slots)
		return;
	/* Nobody is left to run what waits. */
	while (!list_empty(&worker.queue))
		conn_refuse(LIST_ENTRY(worker.queue.next, struct request, link)
				    ->conn,
			    503, "unavailable", NOT_BEGUN);
}

int slots_check(void)
{
	uint64_t now, next = UINT64_MAX;

	if (!worker.predict_timeout_ms)
		return -1;
	now = now_ms();
	for (unsigned i = 0; i < worker.n_slots; i++) {
		struct slot *s = &worker.slots[i];
		uint64_t end = s->since_ms + worker.predict_timeout_ms;

		if (!s->request || s->stuck || s->paused)
			continue;
		if (now >= end)
			give_up(s, now - s->since_ms);
		else
			next = MIN(next, end - now);
	}
	/* A slot may take a queued request while the looper sleeps; it cannot
	 * run out of time before a whole timeout from now. */
	if (next == UINT64_MAX && !worker.n_busy && list_empty(&worker.queue))
		return -1;
	return (int)MIN(next, MIN(worker.predict_timeout_ms, 1000000));
}

/* --- running ---------------------------------------------------------------
 */

/* The lock is held. */
static void over(struct slot *s)
{
	s->busy = false;
	worker.n_busy--;
	if (worker.state != WORKER_SERVING)
		poll_wake(worker.prod); /* it waits for this */
}

/* The GIL is held, and the lock on entry and on return. */
static void run(struct slot *s, struct request *r)
{
	struct call call = {.hold = NULL};
	struct reply reply = {0};
	bool after, posted = false;

	list_remove(&r->link);
	r->state = REQUEST_RUNNING;
	s->request = r;
	s->busy = true;
	s->since_ms = now_ms();
	worker.n_busy++;
	if (worker.dozing) {
		worker.dozing = false;
		pthread_cond_signal(&worker.tick);
	}
	worker_unlock();

	current = r;
	buf_reset(&s->out);
	call_run(r, &call, &s->out, &reply);
	if (call.chunks && stream_run(s, r, &call, &reply)) {
		worker_lock();
		over(s);
		return;
	}
	output_end_lines();
	if (worker.forked)
		process_exit(0); /* a fork of the user's came back to us */

	worker_lock();
	s->request = NULL;
	if (r->conn)
		conn_reply(r->conn, &reply);
	/* What comes after the answer is not the slot's. */
	after = !s->stuck && call_has_after(&call);
	if (after)
		posted = hooks_post(r, &call);
	worker_unlock();

	if (after && !posted)
		call_after(r, &call);
	output_end_lines();
	current = NULL;
	call_fini(&call);
	if (worker.forked)
		process_exit(0);
	if (s->out.cap > 1 << 20)
		buf_fini(&s->out);

	worker_lock();
	if (!posted)
		request_destroy(r);
	over(s);
}

/* Waits without the GIL until there may be work. -1: a signal handler of the
 * user's raised. */
static int wait_for_work(struct slot *s, bool leads)
{
	uint64_t count;
	ssize_t got = 0;
	/* A signal from here on ends the wait; one from before may have had
	 * its wake-up read by the poll that came first. */
	if (PyErr_CheckSignals())
		return -1;
	Py_BEGIN_ALLOW_THREADS;
	if (leads)
		poll_as_main(-1);
	else
		got = read(s->wake, &count, sizeof count);
	Py_END_ALLOW_THREADS;
	(void)got; /* a count, or interrupted */
	return PyErr_CheckSignals();
}

int slot_run(unsigned index)
{
	struct slot *s = &worker.slots[index];

	worker_lock();
	while (worker.state != WORKER_DRAINED || s->index > 0) {
		bool leads = worker.n_slots == 1 && !s->stuck &&
			     worker.state == WORKER_SERVING;
		int rc;

		if (slots_have_work() && !s->stuck) {
			run(s, LIST_ENTRY(worker.queue.next, struct request,
					  link));
			continue;
		}
		if (leads) {
			poll_lead();
			worker_unlock();
			poll_as_main(0); /* cheaper than giving the GIL up */
			worker_lock();
			if (slots_have_work())
				continue;
		} else if (!s->stuck) {
			list_remove(&s->link);
			list_push_front(&worker.idle, &s->link);
		}
		worker_unlock();
		rc = wait_for_work(s, leads);
		if (rc)
			return -1;
		worker_lock();
		list_remove(&s->link);
	}
	worker_unlock();
	return 0;
}
