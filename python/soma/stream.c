/* Streams: asking a generator for chunks, and passing them on. */
#include "stages.h"
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What this thread runs. */
static __thread struct stream *mine;

bool stream_wanted(PyObject *result)
{
	return PyIter_Check(result) ||
	       PyObject_HasAttrString(result, "__anext__");
}

int stream_prepare(PyObject *result, struct call *call)
{
	if (PyIter_Check(result)) {
		Py_INCREF(result);
		call->chunks = result;
		return 0;
	}
	call->chunks =
		PyObject_CallFunctionObjArgs(python.chunks, result, NULL);
	return call->chunks ? 0 : -1;
}

/* --- bytes to the client; the lock is held ---------------------------------
 */

static bool has_no_body(const struct stream *st)
{
	int status = st->reply.status;

	return st->request->method == HTTP_HEAD || status == 204 ||
	       status == 304;
}

/* Passes bytes on, behind the head if that has not left. The client may be
 * gone afterwards. */
static void push(struct stream *st, const struct buf *bytes, struct buf *out)
{
	struct conn *c = st->request->conn;

	if (!c)
		return;
	buf_reset(out);
	if (!st->begun) {
		st->begun = true;
		st->chunked = conn_stream_begin(c, &st->reply, out);
	}
	if (bytes->len && !has_no_body(st)) {
		if (st->chunked)
			buf_addf(out, "%zx\r\n", bytes->len);
		buf_add(out, bytes->data, bytes->len);
		if (st->chunked)
			buf_adds(out, "\r\n");
	}
	conn_stream_push(c, (struct str){out->data, out->len});
}

/* The end: a client that gets no last chunk knows that something is missing. */
static void finish(struct stream *st, bool whole)
{
	struct conn *c = st->request->conn;

	if (!c)
		return;
	if (st->chunked && whole && !has_no_body(st))
		conn_stream_push(c, STR("0\r\n\r\n"));
	if (st->request->conn)
		conn_stream_end(c, whole);
}

void stream_wake(struct stream *st)
{
	poll_wake(st->wake);
}

void stream_taken(struct stream *st, size_t pending)
{
	if (st->waits && pending <= STREAM_AHEAD_MAX / 2)
		poll_wake(st->wake);
}

void stream_give_up(struct stream *st, const char *message)
{
	struct buf json, bytes, out; /* its thread may be at its own */

	buf_init(&json, SIZE_MAX / 4);
	buf_init(&bytes, SIZE_MAX / 4);
	buf_init(&out, SIZE_MAX / 4);
	error_text(&json, "timeout", str_of(message), st->request->id);
	stream__put_error(st, (struct str){json.data, json.len}, &bytes);
	push(st, &bytes, &out);
	finish(st, false);
	buf_fini(&json);
	buf_fini(&bytes);
	buf_fini(&out);
}

/* --- waiting ---------------------------------------------------------------
 */

/* Without the GIL, for what wakes this stream. -1: a signal handler raised. */
static int wait_for_wake(const struct stream *st)
{
	uint64_t count;
	ssize_t got;

	Py_BEGIN_ALLOW_THREADS;
	got = read(st->wake, &count, sizeof count);
	Py_END_ALLOW_THREADS;
	(void)got; /* a count, or interrupted */
	return PyErr_CheckSignals();
}

int stream_wake_fd(void)
{
	return mine ? mine->wake : -1;
}

bool stream_cancelled(void)
{
	const struct request *r = slot_current();
	bool gone = false;

	if (!r)
		return false;
	worker_lock();
	gone = !r->conn;
	worker_unlock();
	return gone;
}

/* Until the client has taken most of what there is. The lock is held. False: it
 * is gone, or a signal handler raised. */
static bool wait_for_client(struct stream *st)
{
	const struct request *r = st->request;
	int rc = 0;

	while (!rc && r->conn && conn_pending(r->conn) > STREAM_AHEAD_MAX) {
		st->waits = true;
		if (st->slot) {
			st->slot->paused = true;
			poll_hand_over();
		}
		worker_unlock();
		rc = wait_for_wake(st);
		worker_lock();
		st->waits = false;
		if (st->slot)
			st->slot->paused = false;
	}
	return !rc && r->conn;
}

/* --- chunks ----------------------------------------------------------------
 */

/* False: no more is wanted, or an exception is set. */
static bool pass(struct stream *st, PyObject *chunk)
{
	bool more;

	if (!st->begun)
		stream__choose(st, chunk);
	if (stream__put(st, chunk))
		return false;
	worker_lock();
	push(st, &st->bytes, &st->out);
	more = wait_for_client(st) && !has_no_body(st);
	if (st->slot)
		st->slot->since_ms = now_ms();
	worker_unlock();
	return more;
}

/* The daemon may send as many more. */
static void count_released(int change)
{
	worker.n_released += (unsigned)change;
	control_send(FRAME_SLOT_FREE, worker.n_released, NULL, 0, false);
}

/* Gives the slot up: the rest is for a thread of its own. False with an
 * exception. */
static bool release(struct stream *st)
{
	struct slot *s = st->slot;
	int wake = eventfd(0, EFD_CLOEXEC);
	PyObject *self = Py_BuildValue("(N)", PyCapsule_New(st, NULL, NULL));
	PyObject *done = NULL;

	if (wake < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
	} else if (self) {
		output_end_lines();
		mine = NULL;
		slot_set_current(NULL);
		worker_lock();
		st->slot = NULL;
		st->wake = wake;
		s->request = NULL;
		st->request->returned_ns = now_ns();
		stages_predicted(st->request, 1);
		count_released(1);
		worker_unlock();
		done = PyObject_CallFunctionObjArgs(python.go_on, self, NULL);
	}
	Py_XDECREF(self);
	Py_XDECREF(done);
	if (done)
		return true;
	if (st->slot)
		return false;
	mine = st;
	slot_set_current(st->request);
	worker_lock();
	st->slot = s;
	st->wake = s->wake;
	s->request = st->request;
	count_released(-1);
	worker_unlock();
	close(wake);
	return false;
}

/* The exception that is set, to the client and the log. */
static void fail(struct stream *st)
{
	struct request *r = st->request;
	struct reply reply;
	bool begun = st->begun;
	PyObject *text;

	Py_CLEAR(r->call.args[ARG_RESPONSE]);
	if (!begun) {
		reply_of_exception(r, call_name(r), &r->call, &st->out, &reply);
	} else {
		text = PyObject_CallFunction(python.stream_error, "Nss",
					     take_exception(), r->id,
					     call_name(r));
		buf_reset(&st->bytes);
		if (text)
			stream__put_error(
				st,
				(struct str){PyBytes_AsString(text),
					     (size_t)PyBytes_Size(text)},
				&st->bytes);
		else
			PyErr_Print();
		Py_XDECREF(text);
	}
	worker_lock();
	if (begun) {
		push(st, &st->bytes, &st->out);
		finish(st, false);
	} else if (r->conn) {
		conn_reply(r->conn, &reply);
	}
	worker_unlock();
}

static void succeed(struct stream *st)
{
	struct request *r = st->request;

	if (!st->begun) /* nothing was yielded */
		stream__choose(st, Py_None);
	worker_lock();
	if (!r->conn)
		Py_CLEAR(r->call.args[ARG_RESPONSE]);
	else if (st->begun)
		finish(st, true);
	else
		conn_reply(r->conn, &st->reply);
	worker_unlock();
}

/* GeneratorExit where it stands, unless it is over. */
static void close_chunks(struct stream *st)
{
	PyObject *done;

	if (!PyObject_HasAttrString(st->chunks, "close"))
		return;
	done = PyObject_CallMethod(st->chunks, "close", NULL);
	if (!done)
		done = PyObject_CallFunction(python.late_error, "Nss",
					     take_exception(), st->request->id,
					     "closing the stream");
	if (!done)
		PyErr_Print();
	Py_XDECREF(done);
}

/* True: released. */
static bool run(struct stream *st)
{
	PyObject *chunk;
	bool more = true;

	mine = st;
	while (more && (chunk = PyIter_Next(st->chunks))) {
		if (worker.forked)
			process_exit(0); /* a fork of the user's */
		more = chunk == python.release || pass(st, chunk);
		if (chunk == python.release && st->slot) {
			if (release(st)) {
				Py_DECREF(chunk);
				return true;
			}
			more = false;
		}
		Py_DECREF(chunk);
	}
	if (worker.forked)
		process_exit(0);
	if (PyErr_Occurred())
		fail(st);
	else
		succeed(st);
	close_chunks(st);
	mine = NULL;
	return false;
}

/* --- life ------------------------------------------------------------------
 */

static void stream_fini(struct stream *st)
{
	Py_CLEAR(st->chunks);
	buf_fini(&st->bytes);
	buf_fini(&st->out);
	free(st);
}

bool stream_run(struct slot *s, struct request *r, const struct reply *reply)
{
	struct stream *st = mem_alloc(sizeof *st);

	*st = (struct stream){.request = r,
			      .slot = s,
			      .reply = *reply,
			      .chunks = r->call.chunks,
			      .wake = s->wake};
	r->call.chunks = NULL;
	buf_init(&st->bytes, SIZE_MAX / 4);
	buf_init(&st->out, SIZE_MAX / 4);
	worker_lock();
	r->stream = st;
	worker_unlock();
	if (run(st))
		return true;
	worker_lock();
	r->returned_ns = now_ns();
	r->stream = NULL;
	worker_unlock();
	stream_fini(st);
	return false;
}

void stream_go_on(struct stream *st)
{
	struct request *r = st->request;

	slot_set_current(r);
	run(st);
	output_end_lines();
	worker_lock();
	r->stream = NULL;
	worker_unlock();
	hooks_after(r);
	count_released(-1);
	if (worker.state != WORKER_SERVING)
		poll_wake(worker.prod); /* it waits for this */
	worker_unlock();
	close(st->wake);
	stream_fini(st);
}
