/* Tasks: what is `async def` runs on the process's one asyncio loop (tasks.py),
 * in a thread of its own. Requests come in by a list and an eventfd that the
 * loop watches.
 *
 *   hooks.c ── PRE, POST, AFTER ─▶ list ─▶ coroutine ─▶ task ─▶ hooks_end
 *   a slot ─── AWAIT ─────────────▶              │        ╰───▶ it goes on
 *                  the client leaves: ── cancel ─╯
 */
#include "stream.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A thread that waits for a coroutine; on its stack. */
struct awaiting {
	PyObject *coroutine; /* owned, until there is a task */
	int wake;	     /* eventfd of the thread */
	bool to_the_end;     /* the client's leaving does not cancel it */
	/* Under the lock. When it is over one of these is there, owned. */
	bool over;
	PyObject *result, *error;
};

/* Of requests: to be begun or, those that have a task, to be cancelled. Under
 * the lock. */
static struct list tasks;
static int loop_wake = -1;

int tasks_init(void)
{
	list_init(&tasks);
	loop_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop_wake >= 0)
		return 0;
	PyErr_SetFromErrno(PyExc_OSError);
	return -1;
}

int task_fd(void)
{
	return loop_wake;
}

void task_queue(struct request *r)
{
	list_push_back(&tasks, &r->task_link);
	poll_wake(loop_wake);
}

/* Whether the client's leaving ends it. */
static bool is_for_client(const struct request *r)
{
	return r->hook == HOOK_PRE ||
	       (r->hook == HOOK_AWAIT && !r->awaiting->to_the_end);
}

void task_cancel(struct request *r)
{
	if (!r->task || !is_for_client(r))
		return;
	list_remove(&r->task_link);
	task_queue(r);
}

/* --- the loop's thread; the GIL is held ------------------------------------
 */

static void cancel(PyObject *task)
{
	PyObject *answer = PyObject_CallMethod(task, "cancel", NULL);

	if (!answer)
		PyErr_Print();
	Py_XDECREF(answer);
}

/* As hooks_end, for whoever waits for it. */
static void end(struct request *r, PyObject *result, struct buf *out,
		struct reply *reply)
{
	struct awaiting *a = r->awaiting;

	if (r->hook != HOOK_AWAIT) {
		hooks_end(r, result, out, reply);
		return;
	}
	a->result = result;
	if (!result)
		a->error = take_exception();
	output_end_lines();
	slot_set_current(NULL);
	worker_lock();
	a->over = true;
	poll_wake(a->wake);
	worker_unlock();
}

static void begin(struct request *r)
{
	PyObject *coroutine, *task = NULL;
	struct reply reply = {0};
	struct buf out;
	bool unwanted;

	buf_init(&out, SIZE_MAX / 4);
	slot_set_current(r);
	if (r->hook == HOOK_AWAIT)
		coroutine = r->awaiting->coroutine;
	else
		coroutine = call_hook(r, &out, &reply);
	if (coroutine)
		task = PyObject_CallFunction(python.begin_task, "NNs",
					     coroutine, PyLong_FromVoidPtr(r),
					     r->id);
	if (task) {
		worker_lock();
		r->task = task;
		unwanted = !r->conn && is_for_client(r);
		worker_unlock();
		if (unwanted)
			cancel(task);
		slot_set_current(NULL);
	} else {
		end(r, NULL, &out, &reply);
	}
	buf_fini(&out);
}

void task_take_all(void)
{
	uint64_t count;
	ssize_t got = read(loop_wake, &count, sizeof count);

	(void)got; /* the list says what there is */
	worker_lock();
	while (!list_empty(&tasks)) {
		struct request *r =
			LIST_ENTRY(tasks.next, struct request, task_link);
		PyObject *task = r->task;

		list_remove(&r->task_link);
		if (r->state == REQUEST_PRE && !task)
			r->pre_began_ns = now_ns();
		r->begun = true;
		worker_unlock();
		if (task)
			cancel(task);
		else
			begin(r);
		worker_lock();
	}
	worker_unlock();
}

void task_done(struct request *r, PyObject *task)
{
	struct reply reply = {0};
	PyObject *result;
	struct buf out;

	worker_lock();
	list_remove(&r->task_link); /* no need to cancel it any more */
	r->task = NULL;
	worker_unlock();
	Py_DECREF(task); /* which the caller has, too */
	result = PyObject_CallMethod(task, "result", NULL);
	buf_init(&out, SIZE_MAX / 4);
	slot_set_current(r);
	end(r, result, &out, &reply);
	buf_fini(&out);
}

/* --- threads that wait -----------------------------------------------------
 */

static bool is_over(const struct awaiting *a)
{
	bool over;

	worker_lock();
	over = a->over;
	worker_unlock();
	return over;
}

/* Until it is over. An exception of a signal handler's, owned, or NULL. */
static PyObject *wait_for(struct request *r, struct awaiting *a)
{
	PyObject *raised = NULL;
	uint64_t count;
	ssize_t got;

	while (!is_over(a)) {
		Py_BEGIN_ALLOW_THREADS;
		got = read(a->wake, &count, sizeof count);
		Py_END_ALLOW_THREADS;
		(void)got; /* a count, or interrupted */
		if (PyErr_CheckSignals() == 0)
			continue;
		Py_XDECREF(raised);
		raised = take_exception();
		worker_lock();
		a->to_the_end = false;
		task_cancel(r);
		worker_unlock();
	}
	return raised;
}

static PyObject *raise(PyObject *error)
{
	PyErr_SetObject((PyObject *)Py_TYPE(error), error);
	Py_DECREF(error);
	return NULL;
}

PyObject *task_await(PyObject *coroutine, bool to_the_end)
{
	struct request *r = slot_current();
	struct awaiting a = {.coroutine = coroutine,
			     .wake = stream_wake_fd(),
			     .to_the_end = to_the_end};
	PyObject *raised;

	if (a.wake < 0)
		a.wake = slot_wake_fd();
	if (!r || a.wake < 0) {
		Py_DECREF(coroutine);
		return PyErr_Format(PyExc_RuntimeError,
				    "this thread handles no request");
	}
	worker_lock();
	r->awaiting = &a;
	r->hook = HOOK_AWAIT;
	task_queue(r);
	if (slot_wake_fd() >= 0)
		poll_hand_over();
	worker_unlock();

	raised = wait_for(r, &a);
	r->awaiting = NULL;
	r->hook = HOOK_NONE;
	if (!raised)
		return a.error ? raise(a.error) : a.result;
	Py_XDECREF(a.result);
	Py_XDECREF(a.error);
	return raise(raised);
}
