/* The extension module `_worker`: what worker_main.py calls. */
#include "batch.h"
#include "rows.h"
#include "stream.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/json.h"
#include "core/mem.h"
#include "loop/fork.h"

static int inherited(const char *name)
{
	const char *text = getenv(name);
	uint64_t fd;

	if (!text || !str_u64(str_of(text), &fd) || fd > INT_MAX ||
	    fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
		PyErr_Format(
			PyExc_RuntimeError,
			"%s is not set to an open descriptor: this program "
			"is started by soma",
			name);
		return -1;
	}
	return (int)fd;
}

/* Whether they are a zygote's, which has no use for the others. */
static bool take_settings(const struct buf *text)
{
	yyjson_doc *doc = json_parse(text->data, text->len, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	int64_t threads = json_int(root, "threads", 1);
	int64_t max_body = json_int(root, "max_body", 0);
	bool is_zygote = json_str(root, "zygote", NULL) != NULL;

	worker.n_slots = (unsigned)MAX(1, MIN(threads, SLOTS_MAX));
	worker.max_hooks = (unsigned)MAX(
		1, MIN(json_int(root, "max_hooks", HOOKS_DEFAULT), HOOKS_MAX));
	worker.predict_timeout_ms =
		(uint64_t)MAX(0, json_int(root, "predict_timeout_ms", 0));
	batch_init((uint32_t)MAX(0, json_int(root, "max_batch_size", 0)),
		   (uint64_t)MAX(0, json_int(root, "batch_interval_ms", 0)) *
			   1000000,
		   (uint64_t)MAX(0, json_int(root, "latency_target_ms", 0)) *
			   1000000);
	worker.max_body = max_body > 0 ? (size_t)max_body : SIZE_MAX / 4;
	yyjson_doc_free(doc);
	return is_zygote;
}

/* CONFIG of the control channel, as text in `text`. 0, or -1 with an exception.
 */
static int receive_config(struct buf *text)
{
	buf_init(text, SIZE_MAX / 4);
	Py_BEGIN_ALLOW_THREADS;
	text->data = control_config(&text->len);
	Py_END_ALLOW_THREADS;
	if (!text->data) {
		PyErr_Format(PyExc_RuntimeError,
			     "the first frame of the control channel "
			     "is not a CONFIG of version %d",
			     FRAME_VERSION);
		return -1;
	}
	text->cap = text->len + 1;
	return 0;
}

/* Its dict; the text is spent. */
static PyObject *config_of(struct buf *text)
{
	struct err err = {0};
	PyObject *config = json_in(text, &err);

	buf_fini(text);
	if (!config && err.code)
		PyErr_Format(PyExc_RuntimeError, "CONFIG: %s", err.msg);
	return config;
}

/* The threads, lists and descriptors of a replica. 0, or -1 with an exception.
 */
static int start_serving(void)
{
	fcntl(worker.listener, F_SETFL,
	      fcntl(worker.listener, F_GETFL) | O_NONBLOCK);
	slots_init();
	if (tasks_init())
		return -1;
	if (poll_start() || process_init()) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	return 0;
}

PyDoc_STRVAR(start_doc,
	     "start() -> dict\n\n"
	     "Takes the inherited descriptors, or those that the zygote was "
	     "sent, waits for\nCONFIG and returns it. From here on the control "
	     "channel is answered, unless CONFIG\nsays `zygote`: then nothing "
	     "is started, and zygote() comes later.");

static PyObject *start(PyObject *module, PyObject *unused)
{
	bool is_zygote;
	struct buf text;
	PyObject *config;

	(void)module, (void)unused;
	if (!fork_made_us()) {
		worker.control = inherited("SOMA_CONTROL_FD");
		if (worker.control < 0)
			return NULL;
	}
	if (receive_config(&text))
		return NULL;
	is_zygote = take_settings(&text);
	config = config_of(&text);
	if (!config || is_zygote)
		return config;
	if (!fork_made_us())
		worker.listener = inherited("SOMA_LISTEN_FD");
	if (worker.listener < 0 || start_serving()) {
		Py_DECREF(config);
		return NULL;
	}
	return config;
}

PyDoc_STRVAR(zygote_doc,
	     "zygote(json)\n\nSays READY with these bytes and forks for each "
	     "FORK. Returns in the replicas that\nthis makes, where start() "
	     "comes next.");

static PyObject *zygote(PyObject *module, PyObject *args)
{
	const char *text;
	Py_ssize_t len;

	(void)module;
	if (!PyArg_ParseTuple(args, "y#", &text, &len))
		return NULL;
	zygote_run(text, (size_t)len);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(wakeup_fd_doc, "wakeup_fd() -> int\n\nFor signal.set_wakeup_fd.");

static PyObject *wakeup_fd(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	return PyLong_FromLong(worker.signals[1]);
}

PyDoc_STRVAR(loading_doc,
	     "loading(text, known=False)\n\nSays LOADING; known: only if it is "
	     "asked.");

static PyObject *loading(PyObject *module, PyObject *args)
{
	const char *text;
	int known = 0;

	(void)module;
	if (!PyArg_ParseTuple(args, "s|p", &text, &known))
		return NULL;
	worker_lock();
	snprintf(worker.loading, sizeof worker.loading, "%s", text);
	worker_unlock();
	if (!known)
		control_send(FRAME_LOADING, 0, text, strlen(text), false);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(facts_doc, "facts(json)\n\nWhat READY is to say.");

static PyObject *facts(PyObject *module, PyObject *args)
{
	const char *text;

	(void)module;
	if (!PyArg_ParseTuple(args, "s", &text))
		return NULL;
	worker_lock();
	free(worker.facts);
	worker.facts = mem_strdup(text);
	worker_unlock();
	Py_RETURN_NONE;
}

PyDoc_STRVAR(failed_doc,
	     "failed(json)\n\nSays FAILED with these bytes. The process is to "
	     "end then.");

static PyObject *say_last(enum frame_type type, PyObject *args)
{
	const char *text;
	Py_ssize_t len;

	if (!PyArg_ParseTuple(args, "y#", &text, &len))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	control_send(type, 0, text, (size_t)len, true);
	Py_END_ALLOW_THREADS;
	Py_RETURN_NONE;
}

static PyObject *failed(PyObject *module, PyObject *args)
{
	(void)module;
	return say_last(FRAME_FAILED, args);
}

PyDoc_STRVAR(unsafe_doc,
	     "unsafe(json)\n\nSays UNSAFE with these bytes. The process is to "
	     "end then.");

static PyObject *unsafe(PyObject *module, PyObject *args)
{
	(void)module;
	return say_last(FRAME_UNSAFE, args);
}

PyDoc_STRVAR(prepare_doc,
	     "prepare(methods, pre_predict, post_predict, summary, "
	     "query_params, headers, form,\n"
	     "        response, chunks, release, go_on, stream_error, error, "
	     "late_error, is_async,\n"
	     "        begin_task)\n\n"
	     "methods: a dict of HTTP methods to (name, (callable, positional "
	     "names, keyword\nnames, is async)). pre_predict, post_predict: "
	     "such a tuple of four, or None.\nsummary: JSON for a GET, or "
	     "None. The rest: functions of Python's side (call.h).");

static PyObject *prepare(PyObject *module, PyObject *args)
{
	(void)module;
	if (call_init(args))
		return NULL;
	Py_RETURN_NONE;
}

PyDoc_STRVAR(set_summary_doc,
	     "set_summary(json)\n\nWhat a GET is answered from now on.");

/* Readers have no lock and copy it at once: the one before stays until the next
 * is replaced, which is a second later at least. */
static PyObject *set_summary(PyObject *module, PyObject *args)
{
	static char *before;
	const char *text;

	(void)module;
	if (!PyArg_ParseTuple(args, "s", &text))
		return NULL;
	free(before);
	before = __atomic_exchange_n(&worker.summary, mem_strdup(text),
				     __ATOMIC_ACQ_REL);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(run_slot_doc,
	     "run_slot(index)\n\nServes with this thread. Slot 0 is the main "
	     "thread's: says READY, and returns when\nthe process has drained. "
	     "Raises what a signal handler raised; may be called again.");

static PyObject *run_slot(PyObject *module, PyObject *args)
{
	unsigned index;
	bool first;

	(void)module;
	if (!PyArg_ParseTuple(args, "I", &index))
		return NULL;
	if (index >= worker.n_slots)
		return PyErr_Format(PyExc_ValueError, "no slot %u", index);
	if (index == 0) {
		worker_lock();
		first = worker.state == WORKER_LOADING;
		if (first) {
			worker.state = WORKER_SERVING;
			poll_listen();
			control_ready();
		}
		worker_unlock();
	}
	if (slot_run(index))
		return NULL;
	Py_RETURN_NONE;
}

PyDoc_STRVAR(bye_doc, "bye()\n\nSays BYE.");

static PyObject *bye(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	control_send(FRAME_BYE, 0, NULL, 0, true);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(write_doc,
	     "write(fd, bytes, id)\n\nWrites text of this thread, whole lines "
	     "at a time and marked: with the request\nthat the thread handles, "
	     "else with `id` unless that is None.");

static PyObject *write_text(PyObject *module, PyObject *args)
{
	const char *text, *id;
	Py_ssize_t len;
	int fd, rc;

	(void)module;
	if (!PyArg_ParseTuple(args, "iy#z", &fd, &text, &len, &id))
		return NULL;
	rc = output_write(fd, text, (size_t)len, id);
	if (rc) {
		errno = rc;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	Py_RETURN_NONE;
}

PyDoc_STRVAR(flush_doc,
	     "flush(fd)\n\nWrites this thread's open line, if it is in no "
	     "request.");

static PyObject *flush(PyObject *module, PyObject *args)
{
	int fd;

	(void)module;
	if (!PyArg_ParseTuple(args, "i", &fd))
		return NULL;
	output_flush(fd);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(end_lines_doc,
	     "end_lines()\n\nEnds this thread's open lines: the process is "
	     "about to end.");

static PyObject *end_lines(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	output_end_lines();
	Py_RETURN_NONE;
}

PyDoc_STRVAR(go_on_doc, "go_on(stream)\n\nRuns a released stream to its end.");

static PyObject *go_on(PyObject *module, PyObject *capsule)
{
	struct stream *st = PyCapsule_GetPointer(capsule, NULL);

	(void)module;
	if (!st)
		return NULL;
	stream_go_on(st);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(cancelled_doc,
	     "cancelled() -> bool\n\nWhether nobody waits for what this thread "
	     "makes any more.");

static PyObject *cancelled(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	return PyBool_FromLong(stream_cancelled());
}

PyDoc_STRVAR(task_fd_doc,
	     "task_fd() -> int\n\nFor the asyncio loop to watch: readable "
	     "when task_take_all() has something to do.");

static PyObject *get_task_fd(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	return PyLong_FromLong(task_fd());
}

PyDoc_STRVAR(task_take_all_doc,
	     "task_take_all()\n\nBegins and cancels tasks, in the loop's "
	     "thread.");

static PyObject *take_all_tasks(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	task_take_all();
	Py_RETURN_NONE;
}

PyDoc_STRVAR(task_done_doc,
	     "task_done(handle, task)\n\nThe task that begin_task() made for "
	     "the handle is over.");

static PyObject *task_is_done(PyObject *module, PyObject *args)
{
	PyObject *handle, *task;
	struct request *r;

	(void)module;
	if (!PyArg_ParseTuple(args, "OO", &handle, &task))
		return NULL;
	r = PyLong_AsVoidPtr(handle);
	if (!r)
		return NULL;
	task_done(r, task);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(task_await_doc,
	     "task_await(coroutine, to_the_end)\n\nWhat the coroutine returns, "
	     "run on the loop for this thread's request. Cancelled\nwhen the "
	     "client goes, unless it is to run to the end.");

static PyObject *await_task(PyObject *module, PyObject *args)
{
	PyObject *coroutine;
	int to_the_end;

	(void)module;
	if (!PyArg_ParseTuple(args, "Op", &coroutine, &to_the_end))
		return NULL;
	Py_INCREF(coroutine);
	return task_await(coroutine, to_the_end);
}

static PyMethodDef methods[] = {
	{"start", start, METH_NOARGS, start_doc},
	{"zygote", zygote, METH_VARARGS, zygote_doc},
	{"unsafe", unsafe, METH_VARARGS, unsafe_doc},
	{"wakeup_fd", wakeup_fd, METH_NOARGS, wakeup_fd_doc},
	{"loading", loading, METH_VARARGS, loading_doc},
	{"facts", facts, METH_VARARGS, facts_doc},
	{"failed", failed, METH_VARARGS, failed_doc},
	{"set_summary", set_summary, METH_VARARGS, set_summary_doc},
	{"prepare", prepare, METH_VARARGS, prepare_doc},
	{"run_slot", run_slot, METH_VARARGS, run_slot_doc},
	{"go_on", go_on, METH_O, go_on_doc},
	{"cancelled", cancelled, METH_NOARGS, cancelled_doc},
	{"task_fd", get_task_fd, METH_NOARGS, task_fd_doc},
	{"task_take_all", take_all_tasks, METH_NOARGS, task_take_all_doc},
	{"task_done", task_is_done, METH_VARARGS, task_done_doc},
	{"task_await", await_task, METH_VARARGS, task_await_doc},
	{"bye", bye, METH_NOARGS, bye_doc},
	{"write", write_text, METH_VARARGS, write_doc},
	{"flush", flush, METH_VARARGS, flush_doc},
	{"end_lines", end_lines, METH_NOARGS, end_lines_doc},
	{"weights", weights_rows, METH_VARARGS, weights_doc},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_worker",
	.m_doc = "Sockets, HTTP, JSON and threads of a Python replica.",
	.m_size = -1,
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__worker(void);

PyMODINIT_FUNC PyInit__worker(void)
{
	PyObject *module = PyModule_Create(&definition);

#ifdef Py_GIL_DISABLED
	/* Else loading it would bring the GIL back. */
	if (module)
		PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
	return module;
}
