/* Hooks: the user's code before and after predict, on threads beside the slots.
 * Whoever waits for a database there keeps no predict from running.
 *
 *   conn ─▶ pre ─▶ (slot.c: queue, predict, answer) ─▶ post ─▶ over
 *
 * Threads are made when they are first needed. What is `async def` goes to the
 * loop instead (tasks.c) and comes back by hooks_end.
 */
#include "call.h"
#include "stages.h"

#include <semaphore.h>
#include <signal.h>

/* Under the lock, but for the semaphore. */
static struct list waiting; /* of requests */
static sem_t calls;	    /* of idle threads to work */
static unsigned n_threads, n_idle;

void hooks_init(void)
{
	list_init(&waiting);
	sem_init(&calls, 0, 0);
}

bool hooks_pile_up(void)
{
	return worker.n_posts - worker.n_post_tasks >=
		       worker.max_hooks * POSTS_FOR_A_HOOK ||
	       worker.n_post_tasks >= worker.max_hooks * POST_TASKS_FOR_A_HOOK;
}

/* --- threads ---------------------------------------------------------------
 */

/* A request is about to begin. The lock is held. False: no slot would ever take
 * it, and it is refused. */
static bool begin(struct request *r)
{
	list_remove(&r->link);
	if (r->state == REQUEST_PRE && worker.n_stuck == worker.n_slots) {
		conn_refuse(r->conn, 503, "unavailable", NOT_BEGUN);
		return false;
	}
	r->begun = true;
	if (r->state == REQUEST_PRE)
		r->pre_began_ns = now_ns();
	return true;
}

/* Runs r->hook in this thread, and hands the request on. The GIL is held, the
 * lock is not. */
static void run(struct request *r)
{
	struct reply reply = {0};
	PyObject *result;
	struct buf out;

	buf_init(&out, SIZE_MAX / 4);
	slot_set_current(r);
	result = call_hook(r, &out, &reply);
	if (worker.forked)
		process_exit(0); /* a fork of the user's came back to us */
	hooks_end(r, result, &out, &reply);
	buf_fini(&out);
}

static void *thread_main(void *unused)
{
	PyGILState_Ensure();
	worker_lock();
	for (;;) {
		while (!list_empty(&waiting)) {
			struct request *r =
				LIST_ENTRY(waiting.next, struct request, link);

			if (!begin(r))
				continue;
			worker_unlock();
			run(r);
			worker_lock();
		}
		n_idle++;
		worker_unlock();
		Py_BEGIN_ALLOW_THREADS;
		while (sem_wait(&calls))
			; /* interrupted */
		Py_END_ALLOW_THREADS;
		worker_lock();
	}
	return unused;
}

/* False: the system has no thread left. */
static bool add_thread(void)
{
	pthread_attr_t detached;
	sigset_t all, before;
	pthread_t thread;
	int rc;

	sigfillset(&all); /* they are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &detached, thread_main, NULL);
	pthread_attr_destroy(&detached);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	n_threads += !rc;
	return !rc;
}

/* Hands r->hook to who runs it. False: there is no thread. */
static bool enqueue(struct request *r)
{
	if (call_is_async(r)) {
		task_queue(r);
		return true;
	}
	if (n_idle) {
		n_idle--;
		sem_post(&calls);
	} else if (n_threads < worker.max_hooks && !add_thread() &&
		   !n_threads) {
		return false;
	}
	list_push_back(&waiting, &r->link);
	return true;
}

bool hooks_pre(struct request *r)
{
	r->state = REQUEST_PRE;
	r->hook = HOOK_PRE;
	stages_pre_begin();
	return enqueue(r);
}

/* What comes next after the answer, or after a task. The lock is held on return
 * only. */
static void go_on(struct request *r, bool was_task)
{
	slot_set_current(NULL);
	worker_lock();
	worker.n_post_tasks -= was_task;
	worker.n_post_tasks += call_is_async(r);
	if (enqueue(r))
		return;
	worker_unlock();
	run(r);
	worker_lock();
}

void hooks_after(struct request *r)
{
	if (!call_next(r)) {
		request_end(r);
		return;
	}
	worker_lock();
	r->state = REQUEST_OVER;
	worker.n_posts++;
	worker_unlock();
	go_on(r, false);
}

/* --- the ends of hooks -----------------------------------------------------
 */

static void end_pre(struct request *r, PyObject *result, struct buf *out,
		    struct reply *reply)
{
	bool wanted, good = false;

	worker_lock();
	wanted = r->conn;
	worker_unlock();
	if (wanted) {
		good = call_pre_end(r, result, out, reply);
	} else { /* what was cancelled has nothing to say */
		PyErr_Clear();
		Py_XDECREF(result);
	}
	output_end_lines();
	slot_set_current(NULL);

	worker_lock();
	stages_pre_end(r, now_ns() - r->pre_began_ns);
	if (r->conn && good && worker.n_stuck < worker.n_slots) {
		slot_queue(r);
		worker_unlock();
		return;
	}
	r->state = REQUEST_OVER; /* the conn is not to free it */
	slot_look_again();
	if (r->conn && good)
		conn_refuse(r->conn, 503, "unavailable", NOT_PREDICTED);
	else if (r->conn)
		conn_reply(r->conn, reply);
	worker_unlock();
	request_end(r);
	worker_unlock();
}

static void end_post(struct request *r, PyObject *result)
{
	bool was_task = call_is_async(r);

	call_post_end(r, result);
	output_end_lines();
	if (call_next(r)) {
		go_on(r, was_task);
		worker_unlock();
		return;
	}
	request_end(r);
	worker.n_posts--;
	worker.n_post_tasks -= was_task;
	poll_rouse();
	/* One for each post that ends: all slots may have been held back. */
	if (slots_have_work())
		slot_wake();
	if (worker.state != WORKER_SERVING)
		poll_wake(worker.prod); /* it waits for this */
	worker_unlock();
}

void hooks_end(struct request *r, PyObject *result, struct buf *out,
	       struct reply *reply)
{
	if (r->hook == HOOK_PRE)
		end_pre(r, result, out, reply);
	else
		end_post(r, result);
}
