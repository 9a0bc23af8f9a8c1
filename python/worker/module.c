/* module.c: what thin Python sees of the worker. */
#include "worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/frame.h"

struct worker worker = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.turn = PTHREAD_COND_INITIALIZER,
	.wake = PTHREAD_COND_INITIALIZER,
};

static void on_sigterm(int signum)
{
	uint64_t one = 1;

	(void)signum;
	if (write(worker.stop_fd, &one, sizeof one) < 0)
		return;
}

static int env_fd(const char *name)
{
	const char *text = getenv(name);
	int fd = text ? atoi(text) : -1;

	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

/* start() -> the CONFIG's JSON text. From here on PING is answered. */
static PyObject *start(PyObject *self, PyObject *args)
{
	struct sigaction sa = {.sa_handler = on_sigterm};
	cleanup_free char *json = NULL;
	pthread_attr_t attr;
	sigset_t all, old;
	int flags, rc;

	(void)self;
	(void)args;
	worker.listen_fd = env_fd("SOMA_LISTEN_FD");
	worker.control_fd = env_fd("SOMA_CONTROL_FD");
	if (worker.listen_fd < 0 || worker.control_fd < 0) {
		PyErr_SetString(PyExc_RuntimeError,
				"this program is started by Soma: "
				"SOMA_LISTEN_FD and SOMA_CONTROL_FD are unset");
		return NULL;
	}
	flags = fcntl(worker.listen_fd, F_GETFL);
	fcntl(worker.listen_fd, F_SETFL, flags | O_NONBLOCK);
	list_init(&worker.conns);
	list_init(&worker.queue);
	list_init(&worker.dead);
	if (control_receive_config(&json) < 0) {
		PyErr_SetString(PyExc_RuntimeError,
				"no CONFIG on the control channel");
		return NULL;
	}
	poll_init();
	sigaction(SIGTERM, &sa, NULL);
	/* Until READY the watchdog polls: imports and __init__ may be long. */
	worker.n_slots = 1;
	worker.own_poll = true;
	atomic_store(&worker.busy, true);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	rc = pthread_create(&worker.watchdog, &attr, watchdog_main, NULL);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		errno = rc;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	return PyUnicode_FromString(json);
}

/* configure(threads, predict_timeout_ms, max_body) */
static PyObject *configure(PyObject *self, PyObject *args)
{
	unsigned threads, timeout;
	unsigned long long max_body;

	(void)self;
	if (!PyArg_ParseTuple(args, "IIK", &threads, &timeout, &max_body))
		return NULL;
	pthread_mutex_lock(&worker.lock);
	worker.n_slots = threads < 1	       ? 1
			 : threads > SLOTS_MAX ? (unsigned)SLOTS_MAX
					       : threads;
	worker.own_poll = worker.n_slots == 1;
	worker.predict_timeout_ms = timeout;
	worker.max_body = max_body;
	pthread_mutex_unlock(&worker.lock);
	Py_RETURN_NONE;
}

static PyObject *loading(PyObject *self, PyObject *args)
{
	const char *text;

	(void)self;
	if (!PyArg_ParseTuple(args, "s", &text))
		return NULL;
	pthread_mutex_lock(&worker.lock);
	free(worker.last_loading);
	worker.last_loading = mem_strdup(text);
	control_send(FRAME_LOADING, 0, text);
	pthread_mutex_unlock(&worker.lock);
	Py_RETURN_NONE;
}

static PyObject *failed(PyObject *self, PyObject *args)
{
	const char *json;

	(void)self;
	if (!PyArg_ParseTuple(args, "s", &json))
		return NULL;
	pthread_mutex_lock(&worker.lock);
	control_send(FRAME_FAILED, 0, json);
	pthread_mutex_unlock(&worker.lock);
	Py_RETURN_NONE;
}

/* ready(hooks, facts_json): requests are taken from now on. */
static PyObject *ready(PyObject *self, PyObject *args)
{
	PyObject *hooks;
	const char *facts;

	(void)self;
	if (!PyArg_ParseTuple(args, "Os", &hooks, &facts))
		return NULL;
	if (slots_setup(hooks) < 0)
		return NULL;
	pthread_mutex_lock(&worker.lock);
	worker.ready = true;
	worker.ready_facts = mem_strdup(facts);
	watch_listen();
	poll_kick();
	control_send(FRAME_READY, 0, facts);
	pthread_mutex_unlock(&worker.lock);
	Py_RETURN_NONE;
}

/* run_slot(index): returns when the process is to end. */
static PyObject *run_slot(PyObject *self, PyObject *args)
{
	unsigned index;

	(void)self;
	if (!PyArg_ParseTuple(args, "I", &index))
		return NULL;
	if (slot_run(index) < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *bye(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	pthread_mutex_lock(&worker.lock);
	control_send(FRAME_BYE, 0, NULL);
	pthread_mutex_unlock(&worker.lock);
	Py_RETURN_NONE;
}

/* current_id() -> the id of the request this thread is handling, or None */
static PyObject *current_id(PyObject *self, PyObject *args)
{
	size_t len;
	const char *id = slot_current_id(&len);

	(void)self;
	(void)args;
	if (!id)
		Py_RETURN_NONE;
	return PyUnicode_DecodeLatin1(id, (Py_ssize_t)len, NULL);
}

static PyMethodDef methods[] = {
	{"start", start, METH_NOARGS, "start() -> CONFIG as JSON text"},
	{"configure", configure, METH_VARARGS,
	 "configure(threads, predict_timeout_ms, max_body)"},
	{"loading", loading, METH_VARARGS, "loading(text)"},
	{"failed", failed, METH_VARARGS, "failed(json)"},
	{"ready", ready, METH_VARARGS, "ready(hooks, facts_json)"},
	{"run_slot", run_slot, METH_VARARGS,
	 "run_slot(index): serves until the process is to end"},
	{"bye", bye, METH_NOARGS, "bye(): drained, about to exit"},
	{"current_id", current_id, METH_NOARGS,
	 "current_id() -> id of this thread's request, or None"},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_worker",
	.m_doc = "Soma's replica process for Python predictors.",
	.m_size = -1,
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__worker(void);

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__worker(void)
{
	return PyModule_Create(&module);
}
