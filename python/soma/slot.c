/* Slots: the Python threads that run predict. */
#include "batch.h"
#include "stages.h"
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "core/err.h"
#include "loop/touched.h"

enum { OUT_KEPT = 1 << 20 }; /* bytes of a slot's buffer, for the next answer */

static __thread struct request *current;
static __thread struct slot *own; /* of this thread; NULL: it is no slot's */

struct request *slot_current(void)
{
	return current;
}

void slot_set_current(struct request *r)
{
	current = r;
}

int slot_wake_fd(void)
{
	return own ? own->wake : -1;
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
		list_init(&s->batch);
		s->index = i;
		s->wake = eventfd(0, EFD_CLOEXEC);
		buf_init(&s->out, SIZE_MAX / 4);
	}
	hooks_init();
	stages_init();
}

bool slots_have_work(void)
{
	return !list_empty(&worker.queue) && !worker.held && !hooks_pile_up();
}

void slot_queue(struct request *r)
{
	r->state = REQUEST_QUEUED;
	list_push_back(&worker.queue, &r->link);
	if (worker.batches)
		batch_note(r);
	else if (r->timed)
		r->queued_ns = now_ns();
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

void slot_look_again(void)
{
	if (!worker.held)
		return;
	worker.held = false;
	slot_wake();
}

/* --- predicts that run too long --------------------------------------------
 */

static void give_up(struct slot *s, uint64_t ran_ms)
{
	struct request *r = s->request;
	bool begun = r->stream && r->conn && r->conn->state == CONN_STREAMING;
	char limit[32], text[ERR_MSG_MAX];
	struct list *it, *next;

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
	LIST_EACH (&s->batch, it, next) {
		r = LIST_ENTRY(it, struct request, link);
		if (r->conn)
			conn_refuse(r->conn, 504, "timeout", "%s", text);
	}
	r = s->request;
	control_send(FRAME_STUCK, (uint32_t)ran_ms, r->id, strlen(r->id),
		     false); /* QUERY asks again */
	if (worker.n_stuck < worker.n_slots)
		return;
	/* Nobody is left to run what waits. */
	while (!list_empty(&worker.queue)) {
		r = LIST_ENTRY(worker.queue.next, struct request, link);
		list_remove(&r->link);
		if (r->conn)
			conn_refuse(r->conn, 503, "unavailable", "%s",
				    r->begun ? NOT_PREDICTED : NOT_BEGUN);
	}
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

void slot_begin(struct slot *s, struct request *r)
{
	r->state = REQUEST_RUNNING;
	r->begun = true;
	s->request = r;
	s->busy = true;
	s->taken_ns = r->taken_ns = now_ns();
	s->since_ms = s->taken_ns / 1000000;
	worker.n_busy++;
	poll_rouse();
}

void slot_answer(struct slot *s, struct request *r, const struct reply *reply)
{
	bool stuck;

	output_end_lines();
	if (worker.forked)
		process_exit(0); /* a fork of the user's came back to us */

	worker_lock();
	list_remove(&r->link);
	if (s->request == r)
		s->request = NULL;
	if (r->conn)
		conn_reply(r->conn, reply);
	if (!r->batched)
		stages_predicted(r, 1);
	stuck = s->stuck;
	worker_unlock();
	/* What comes after the answer is not the slot's. */
	if (stuck)
		request_end(r);
	else
		hooks_after(r);
	touched_note();
}

void slot_end(struct slot *s)
{
	if (s->out.cap > OUT_KEPT)
		buf_fini(&s->out);
	s->busy = false;
	worker.n_busy--;
	if (worker.state != WORKER_SERVING)
		poll_wake(worker.prod); /* it waits for this */
}

/* The GIL is held, and the lock on entry and on return. */
static void run(struct slot *s, struct request *r)
{
	struct reply reply = {0};

	list_remove(&r->link);
	slot_begin(s, r);
	worker_unlock();

	current = r;
	buf_reset(&s->out);
	call_run(r, &s->out, &reply);
	if (r->call.chunks && stream_run(s, r, &reply))
		worker_lock();
	else
		slot_answer(s, r, &reply);
	slot_end(s);
}

/* The client left between pre_predict and predict. The GIL is held, and the
 * lock on entry and on return. */
static void drop(struct request *r)
{
	list_remove(&r->link);
	worker_unlock();
	request_end(r);
	if (worker.state != WORKER_SERVING)
		poll_wake(worker.prod); /* it waits for this */
}

/* Runs what is due. False: it is held back, for *ret_hold ns at the most. */
static bool take(struct slot *s, int64_t *ret_hold)
{
	struct request *r = LIST_ENTRY(worker.queue.next, struct request, link);
	uint32_t n;

	if (!r->conn) {
		drop(r);
		return true;
	}
	n = batch_due(r, ret_hold);
	worker.held = !n;
	if (n && batch_joins(r))
		batch_run(s, n);
	else if (n)
		run(s, r);
	return n;
}

/* Until a slot is woken, or the time is over. */
static void wait_for_wake(const struct slot *s, int64_t timeout_ns)
{
	struct pollfd on = {.fd = s->wake, .events = POLLIN};
	struct timespec time = {.tv_sec = timeout_ns / 1000000000,
				.tv_nsec = timeout_ns % 1000000000};
	uint64_t count;

	if (timeout_ns >= 0 && ppoll(&on, 1, &time, NULL) <= 0)
		return;
	if (read(s->wake, &count, sizeof count) < 0)
		return; /* interrupted */
}

/* Waits without the GIL until there may be work. -1: a signal handler of the
 * user's raised. */
static int wait_for_work(struct slot *s, bool leads, int64_t timeout_ns)
{
	/* A signal from here on ends the wait; one from before may have had
	 * its wake-up read by the poll that came first. */
	if (PyErr_CheckSignals())
		return -1;
	Py_BEGIN_ALLOW_THREADS;
	if (leads)
		poll_as_main(timeout_ns);
	else
		wait_for_wake(s, timeout_ns);
	Py_END_ALLOW_THREADS;
	return PyErr_CheckSignals();
}

/* As the thread that leads: what has come meanwhile. Cheaper than giving the
 * GIL up. */
static void look(void)
{
	worker_unlock();
	poll_as_main(0);
	worker_lock();
}

int slot_run(unsigned index)
{
	struct slot *s = &worker.slots[index];
	bool looked = false;

	own = s;
	worker_lock();
	while (worker.state != WORKER_DRAINED || s->index > 0) {
		bool leads = worker.n_slots == 1 && !s->stuck &&
			     worker.state == WORKER_SERVING;
		int64_t hold = -1;
		int rc;

		/* Who is there goes with the batch. */
		if (worker.batches && leads && !looked &&
		    worker.lead == LEAD_MAIN)
			look();
		looked = worker.held = false;
		if (slots_have_work() && !s->stuck && take(s, &hold))
			continue;
		if (leads) {
			poll_lead();
			if (!worker.held)
				look();
			if (slots_have_work())
				continue;
		} else if (!s->stuck) {
			list_remove(&s->link);
			list_push_front(&worker.idle, &s->link);
		}
		worker_unlock();
		rc = wait_for_work(s, leads, hold);
		if (rc)
			return -1;
		worker_lock();
		looked = true;
		list_remove(&s->link);
	}
	worker_unlock();
	return 0;
}
