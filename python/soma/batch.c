/* Batches: what a slot takes, runs in one go and answers. */
#include "batch.h"

#include "policy/batch.h"
#include "policy/curve.h"
#include "stages.h"

/* Under the lock. */
static uint32_t most;
static uint64_t interval_ns;
static struct batch_callers callers;
/* What is learned where there is a target of latency. */
static bool learns;
static struct curve curve;
static struct curve_told told;

void batch_init(uint32_t most_of, uint64_t interval, uint64_t target)
{
	most = MIN(most_of, (uint32_t)CURVE_MOST);
	worker.batches = most > 1;
	learns = worker.batches && target;
	if (learns) {
		curve = (struct curve){.target = target, .most = most};
		return;
	}
	interval_ns = interval;
	/* Cortex's callers were waited for in any case. */
	callers = (struct batch_callers){.share = 1, .window = interval};
}

/* --- what is learned -------------------------------------------------------
 */

void batch_tell(void)
{
	struct buf text;

	if (!told.at)
		return;
	buf_init(&text, FRAME_PAYLOAD_MAX);
	curve_write(&curve, &text);
	control_send(FRAME_BATCHING, 0, text.data, text.len, false);
	buf_fini(&text);
}

/* A slot has taken, run and answered n. */
static void learn(const struct slot *s, uint32_t n)
{
	uint64_t now = now_ns();

	curve_learn(&curve, n, now - s->taken_ns);
	if (curve_has_news(&curve, &told, now))
		batch_tell();
}

/* --- what is taken ---------------------------------------------------------
 */

void batch_note(struct request *r)
{
	r->queued_ns = now_ns();
	batch_arrived(&callers, r->queued_ns);
}

bool batch_joins(const struct request *r)
{
	return worker.batches && r->method == HTTP_POST;
}

static uint32_t count_waiting(void)
{
	uint32_t n = 0;

	for (const struct list *it = worker.queue.next;
	     it != &worker.queue && n < most; it = it->next)
		n += batch_joins(LIST_ENTRY(it, struct request, link));
	return n;
}

uint32_t batch_due(const struct request *r, int64_t *ret_hold)
{
	struct batch_facts f = {
		.slot_free = true, .max = most, .interval = interval_ns};
	struct batch_verdict v;
	uint32_t in_pre = stages_in_pre();
	uint64_t now;

	if (!batch_joins(r))
		return 1;
	now = now_ns();
	if (learns) {
		f.max = curve_size(&curve);
		f.interval = callers.window;
	}
	f.waiting = count_waiting();
	/* The slot's wait, not the request's: what came while a batch ran waits
	 * for its callers, or both groups would take turns. */
	f.age = now - MAX(r->queued_ns, callers.ended);
	f.expected = batch_expected(&callers, now);
	if (in_pre)
		f.expected = MAX(f.expected, f.waiting) + in_pre;
	v = batch_decide(&f);
	*ret_hold = (int64_t)v.wait;
	return v.take;
}

/* Returns how many there are. */
static uint32_t take(struct slot *s, struct request **all, uint32_t n)
{
	struct list *it, *next;
	uint64_t now = now_ns();
	uint32_t taken = 0;

	LIST_EACH (&worker.queue, it, next) {
		struct request *r = LIST_ENTRY(it, struct request, link);

		if (taken == n)
			break;
		if (!batch_joins(r))
			continue;
		list_remove(it);
		list_push_back(&s->batch, it);
		r->state = REQUEST_RUNNING;
		r->batched = true;
		r->taken_ns = now;
		all[taken++] = r;
	}
	return taken;
}

/* --- running; the GIL is held ----------------------------------------------
 */

static bool is_wanted(const struct request *r)
{
	bool is;

	worker_lock();
	is = r->conn;
	worker_unlock();
	return is;
}

static void answer(struct slot *s, struct request *r, const struct reply *reply)
{
	slot_answer(s, r, reply);
	worker_unlock();
}

/* Leaves those that can run, and returns how many these are. */
static uint32_t prepare(struct slot *s, struct request **all, uint32_t n)
{
	uint32_t good = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct request *r = all[i];
		struct reply reply = {0};

		slot_set_current(r);
		buf_reset(&s->out);
		if (is_wanted(r) && call_prepare(r, &s->out, &reply))
			all[good++] = r;
		else
			answer(s, r, &reply);
	}
	worker_lock();
	s->request = good ? all[0] : NULL;
	s->since_ms = now_ms();
	worker_unlock();
	return good;
}

/* A list with an item for each, or NULL with an exception. Takes result. */
static PyObject *checked(PyObject *result, const char *name, uint32_t n)
{
	PyObject *type;

	if (!result)
		return NULL;
	if (!PyList_Check(result)) {
		type = PyObject_GetAttrString((PyObject *)Py_TYPE(result),
					      "__name__");
		PyErr_Format(PyExc_TypeError,
			     "%s returned %U for %u requests: with batching it "
			     "takes lists and returns a list with one result "
			     "for each",
			     name, type, n);
		Py_XDECREF(type);
	} else if (PyList_Size(result) != (Py_ssize_t)n) {
		PyErr_Format(PyExc_ValueError,
			     "%s returned a list of %zd for %u requests: with "
			     "batching it returns one result for each",
			     name, PyList_Size(result), n);
	} else {
		return result;
	}
	Py_DECREF(result);
	return NULL;
}

static PyObject *predict(struct request **all, uint32_t n)
{
	uint64_t began = now_ns(), end;
	PyObject *result;

	slot_set_current(all[0]);
	for (uint32_t i = 0; i < n; i++)
		all[i]->called_ns = began;
	result = call_together(all, n);
	end = now_ns();
	for (uint32_t i = 0; i < n; i++)
		all[i]->returned_ns = end;
	output_end_lines();
	return checked(result, call_name(all[0]), n);
}

/* What is one request's of the list, a new reference; NULL with an exception
 * that is its failure. */
static PyObject *item_of(PyObject *results, uint32_t i)
{
	PyObject *item = PyList_GetItem(results, (Py_ssize_t)i);

	if (item && PyObject_IsInstance(item, PyExc_Exception) > 0) {
		PyErr_SetObject((PyObject *)Py_TYPE(item), item);
		return NULL;
	}
	Py_XINCREF(item);
	return item;
}

/* An item that would be streamed: the slot cannot make several at a time. */
static void refuse_stream(struct request *r, struct buf *out,
			  struct reply *reply)
{
	PyErr_Format(PyExc_TypeError,
		     "%s returned a generator for one of its requests: with "
		     "batching each answer is made in one piece; join its "
		     "chunks, or stream from an api that does not batch",
		     call_name(r));
	Py_CLEAR(r->call.chunks);
	Py_CLEAR(r->call.args[ARG_RESPONSE]);
	reply_of_exception(r, call_name(r), &r->call, out, reply);
}

static void hand_out(struct slot *s, struct request *r, PyObject *result)
{
	struct reply reply = {0};

	slot_set_current(r);
	buf_reset(&s->out);
	call_answer(r, result, &s->out, &reply);
	if (r->call.chunks)
		refuse_stream(r, &s->out, &reply);
	answer(s, r, &reply);
}

/* To all the same exception. Its traceback is in the log once. */
static void fail_all(struct slot *s, struct request **all, uint32_t n)
{
	PyObject *error = take_exception();

	for (uint32_t i = 0; i < n; i++) {
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
		hand_out(s, all[i], NULL);
		PyException_SetTraceback(error, Py_None);
	}
	Py_DECREF(error);
}

static void ended(struct slot *s, struct request *oldest, uint32_t n)
{
	uint32_t left;

	worker_lock();
	s->request = NULL;
	stages_predicted(oldest, n);
	left = count_waiting();
	if (learns) {
		callers.window = curve_window(&curve, n);
		curve_there(&curve, n + left / worker.n_slots);
	}
	batch_answered(&callers, n, left, now_ns());
	worker_unlock();
}

static void run(struct slot *s, struct request **all, uint32_t n)
{
	PyObject *results = predict(all, n);

	ended(s, all[0], n);
	if (!results) {
		fail_all(s, all, n);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		hand_out(s, all[i], item_of(results, i));
	Py_DECREF(results);
}

void batch_run(struct slot *s, uint32_t n)
{
	struct request **all = mem_alloc(n * sizeof *all);

	n = take(s, all, n);
	slot_begin(s, all[0]);
	worker_unlock();
	n = prepare(s, all, n);
	if (n)
		run(s, all, n);
	free(all);
	worker_lock();
	if (n && learns)
		learn(s, n);
	slot_end(s);
}
