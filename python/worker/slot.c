/* slot.c: runs requests through the user's class, one at a time per slot. */
#include "worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "core/str.h"

/* What worker_main.py found out about the class. */
static struct {
	PyObject *predict, *post_predict; /* callables, or NULL */
	PyObject *make_query, *make_headers, *parse_form; /* thin Python */
	PyObject *describe_error, *unpack_response;
	bool payload, query, headers, batch_id;
	bool post_response, post_payload, post_query, post_headers;
} hooks;

static _Thread_local struct request *current;

const char *slot_current_id(size_t *ret_len)
{
	if (!current || !current->id_len)
		return NULL;
	*ret_len = current->id_len;
	return current->text.data + current->id;
}

static PyObject *take(PyObject *dict, const char *key)
{
	PyObject *v = PyDict_GetItemString(dict, key);

	if (!v || v == Py_None)
		return NULL;
	Py_INCREF(v);
	return v;
}

static bool flag(PyObject *dict, const char *key)
{
	PyObject *v = PyDict_GetItemString(dict, key);

	return v && PyObject_IsTrue(v) == 1;
}

int slots_setup(PyObject *dict)
{
	hooks.predict = take(dict, "predict");
	hooks.post_predict = take(dict, "post_predict");
	hooks.make_query = take(dict, "make_query");
	hooks.make_headers = take(dict, "make_headers");
	hooks.parse_form = take(dict, "parse_form");
	hooks.describe_error = take(dict, "describe_error");
	hooks.unpack_response = take(dict, "unpack_response");
	hooks.payload = flag(dict, "payload");
	hooks.query = flag(dict, "query_params");
	hooks.headers = flag(dict, "headers");
	hooks.batch_id = flag(dict, "batch_id");
	hooks.post_response = flag(dict, "post_response");
	hooks.post_payload = flag(dict, "post_payload");
	hooks.post_query = flag(dict, "post_query_params");
	hooks.post_headers = flag(dict, "post_headers");
	if (hooks.predict && hooks.make_query && hooks.make_headers &&
	    hooks.parse_form && hooks.describe_error && hooks.unpack_response)
		return 0;
	PyErr_SetString(PyExc_TypeError, "hooks are missing");
	return -1;
}

/* ---- arguments ---- */

static struct str header(const struct request *r, const char *name)
{
	for (size_t i = 0; i < r->n_headers; i++) {
		const struct header *h = &r->headers[i];

		if (str_ieq((struct str){r->text.data + h->name, h->name_len},
			    str_of(name)))
			return (struct str){r->text.data + h->value,
					    h->value_len};
	}
	return (struct str){NULL, 0};
}

static bool type_is(struct str type, const char *head)
{
	size_t n = strlen(head);

	return type.n >= n && strncasecmp(type.p, head, n) == 0;
}

static PyObject *latin1(const char *p, size_t n)
{
	return PyUnicode_DecodeLatin1(p, (Py_ssize_t)n, NULL);
}

static PyObject *headers_of(const struct request *r)
{
	PyObject *list = PyList_New((Py_ssize_t)r->n_headers), *o;

	for (size_t i = 0; list && i < r->n_headers; i++) {
		const struct header *h = &r->headers[i];
		PyObject *name = latin1(r->text.data + h->name, h->name_len);
		PyObject *value = latin1(r->text.data + h->value, h->value_len);
		PyObject *pair =
			name && value ? PyTuple_Pack(2, name, value) : NULL;

		Py_XDECREF(name);
		Py_XDECREF(value);
		if (!pair || PyList_SetItem(list, (Py_ssize_t)i, pair) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	if (!list)
		return NULL;
	o = PyObject_CallFunctionObjArgs(hooks.make_headers, list, NULL);
	Py_DECREF(list);
	return o;
}

static PyObject *query_of(const struct request *r)
{
	const char *q = memchr(r->text.data, '?', r->url_len);
	size_t n = q ? r->url_len - (size_t)(q + 1 - r->text.data) : 0;
	PyObject *text = latin1(q ? q + 1 : "", n);
	PyObject *o = text ? PyObject_CallFunctionObjArgs(hooks.make_query,
							  text, NULL)
			   : NULL;

	Py_XDECREF(text);
	return o;
}

/* The charset of a Content-Type, or "utf-8". */
static void charset_of(struct str type, char out[64])
{
	cleanup_free char *text = mem_strndup(type.p ? type.p : "", type.n);
	const char *at = strcasestr(text, "charset=");
	size_t n;

	snprintf(out, 64, "utf-8");
	if (!at)
		return;
	at += 8;
	if (*at == '"')
		at++;
	n = strcspn(at, "\"; \t");
	if (n && n < 64)
		snprintf(out, 64, "%.*s", (int)n, at);
}

static PyObject *form_of(const struct request *r, struct str type)
{
	PyObject *body = PyBytes_FromStringAndSize(r->body.data,
						   (Py_ssize_t)r->body.len);
	PyObject *kind = latin1(type.p, type.n), *o = NULL;

	if (body && kind)
		o = PyObject_CallFunctionObjArgs(hooks.parse_form, body, kind,
						 NULL);
	Py_XDECREF(body);
	Py_XDECREF(kind);
	return o;
}

/* NULL: why says what is wrong with the request, or a Python error is set. */
static PyObject *payload_of(const struct request *r, char *why, size_t size)
{
	struct str type = header(r, "content-type");
	char charset[64], detail[256];
	PyObject *o;

	why[0] = 0;
	if (type_is(type, "application/json")) {
		o = json_in(r->body.data ? r->body.data : "", r->body.len,
			    detail, sizeof detail);
		if (!o && detail[0])
			snprintf(why, size, "the body is not valid JSON: %s",
				 detail);
		return o;
	}
	if (type_is(type, "text/plain")) {
		charset_of(type, charset);
		o = PyUnicode_Decode(r->body.data ? r->body.data : "",
				     (Py_ssize_t)r->body.len, charset,
				     "strict");
		if (!o) {
			PyErr_Clear();
			snprintf(why, size,
				 "the body is not text in the charset '%s'",
				 charset);
		}
		return o;
	}
	if (type_is(type, "multipart/form") ||
	    type_is(type, "application/x-www-form-urlencoded")) {
		o = form_of(r, type);
		if (!o) {
			PyErr_Clear();
			snprintf(why, size, "the body is not a valid form");
		}
		return o;
	}
	return PyBytes_FromStringAndSize(r->body.data ? r->body.data : "",
					 (Py_ssize_t)r->body.len);
}

struct call {
	PyObject *payload, *query, *headers, *result;
};

static void call_fini(struct call *c)
{
	Py_CLEAR(c->payload);
	Py_CLEAR(c->query);
	Py_CLEAR(c->headers);
	Py_CLEAR(c->result);
}

static int put(PyObject *kwargs, const char *name, PyObject *value)
{
	return PyDict_SetItemString(kwargs, name, value ? value : Py_None);
}

static PyObject *call(PyObject *fn, PyObject *kwargs)
{
	PyObject *none = PyTuple_New(0);
	PyObject *o = none ? PyObject_Call(fn, none, kwargs) : NULL;

	Py_XDECREF(none);
	return o;
}

/* ---- answers: the lock is taken here, never while Python may run ---- */

static void answer(struct request *r, unsigned status, const char *type,
		   const char *extra, const char *body, size_t len)
{
	pthread_mutex_lock(&worker.lock);
	if (!r->answered)
		request_answer(r, status, type, extra, body, len);
	pthread_mutex_unlock(&worker.lock);
}

static void answer_invalid(struct request *r, const char *why)
{
	pthread_mutex_lock(&worker.lock);
	request_error(r, 400, "invalid", "%s", why);
	pthread_mutex_unlock(&worker.lock);
}

/* (status, type, body, exit code or None) from thin Python. */
static void answer_error(struct request *r)
{
	PyObject *type, *value, *trace, *told;
	const char *kind, *body;
	Py_ssize_t len;
	unsigned status;
	PyObject *code;
	size_t id_len = 0;
	const char *id = slot_current_id(&id_len);

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	told = PyObject_CallFunction(
		hooks.describe_error, "OOOs#", type, value ? value : Py_None,
		trace ? trace : Py_None, id ? id : "", (Py_ssize_t)id_len);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
	if (!told || !PyArg_ParseTuple(told, "Isy#O", &status, &kind, &body,
				       &len, &code)) {
		PyErr_Print();
		answer(r, 500, "text/plain", NULL, "internal server error", 21);
		Py_XDECREF(told);
		return;
	}
	if (code != Py_None) {
		/* SystemExit: the user's program wants to end, and does so
		 * without an answer, as if it had called os._exit. */
		fflush(NULL);
		_exit((int)PyLong_AsLong(code));
	}
	answer(r, status, kind, NULL, body, (size_t)len);
	Py_DECREF(told);
}

/* A Response of starlette's kind: (status, [(name, value)], bytes). */
static int answer_response(struct request *r, PyObject *result)
{
	PyObject *told = PyObject_CallFunctionObjArgs(hooks.unpack_response,
						      result, NULL);
	const char *extra, *body;
	Py_ssize_t extra_len, len;
	unsigned status;
	int rc = -1;

	if (told && PyArg_ParseTuple(told, "Iy#y#", &status, &extra, &extra_len,
				     &body, &len)) {
		answer(r, status, NULL, extra, body, (size_t)len);
		rc = 0;
	}
	Py_XDECREF(told);
	return rc;
}

static bool is_response(PyObject *o)
{
	return !PyDict_Check(o) && !PyList_Check(o) && !PyTuple_Check(o) &&
	       !PyLong_Check(o) && !PyFloat_Check(o) && o != Py_None &&
	       PyObject_HasAttrString(o, "status_code") &&
	       PyObject_HasAttrString(o, "body");
}

/* 0, or -1 with a Python error: nothing was answered. */
static int answer_result(struct request *r, PyObject *result)
{
	PyObject *bytes;
	Py_ssize_t n;
	struct buf b;
	char *p;
	int rc;

	if (PyBytes_Check(result)) {
		if (PyBytes_AsStringAndSize(result, &p, &n) < 0)
			return -1;
		answer(r, 200, "application/octet-stream", NULL, p, (size_t)n);
		return 0;
	}
	if (PyUnicode_Check(result)) {
		bytes = PyUnicode_AsUTF8String(result);
		if (!bytes || PyBytes_AsStringAndSize(bytes, &p, &n) < 0) {
			Py_XDECREF(bytes);
			return -1;
		}
		answer(r, 200, "text/plain; charset=utf-8", NULL, p, (size_t)n);
		Py_DECREF(bytes);
		return 0;
	}
	if (is_response(result))
		return answer_response(r, result);
	buf_init(&b, ANSWER_MAX);
	rc = json_out(&b, result);
	if (rc == 0)
		answer(r, 200, "application/json", NULL, b.data, b.len);
	buf_fini(&b);
	return rc;
}

/* ---- one request ---- */

static int arguments(struct request *r, struct call *c, PyObject *kwargs,
		     char *why, size_t size)
{
	if (hooks.payload || hooks.post_payload) {
		c->payload = payload_of(r, why, size);
		if (!c->payload)
			return -1;
	}
	if (hooks.query || hooks.post_query) {
		c->query = query_of(r);
		if (!c->query)
			return -1;
	}
	if (hooks.headers || hooks.post_headers) {
		c->headers = headers_of(r);
		if (!c->headers)
			return -1;
	}
	if ((hooks.payload && put(kwargs, "payload", c->payload) < 0) ||
	    (hooks.query && put(kwargs, "query_params", c->query) < 0) ||
	    (hooks.headers && put(kwargs, "headers", c->headers) < 0) ||
	    (hooks.batch_id && put(kwargs, "batch_id", NULL) < 0))
		return -1;
	return 0;
}

static void run_post_predict(const struct call *c)
{
	PyObject *kwargs = PyDict_New(), *o = NULL;

	if (kwargs &&
	    (!hooks.post_response || !put(kwargs, "response", c->result)) &&
	    (!hooks.post_payload || !put(kwargs, "payload", c->payload)) &&
	    (!hooks.post_query || !put(kwargs, "query_params", c->query)) &&
	    (!hooks.post_headers || !put(kwargs, "headers", c->headers)))
		o = call(hooks.post_predict, kwargs);
	if (!o)
		PyErr_Print(); /* the response is out: only the log can tell */
	Py_XDECREF(o);
	Py_XDECREF(kwargs);
}

static void run(struct request *r, struct call *c)
{
	PyObject *kwargs = PyDict_New();
	char why[512] = "";

	if (!kwargs || arguments(r, c, kwargs, why, sizeof why) < 0) {
		if (why[0])
			answer_invalid(r, why);
		else
			answer_error(r);
		Py_XDECREF(kwargs);
		return;
	}
	c->result = call(hooks.predict, kwargs);
	Py_DECREF(kwargs);
	if (!c->result || answer_result(r, c->result) < 0) {
		Py_CLEAR(c->result);
		answer_error(r);
	}
}

/* Under lock: the next request for this slot; none when fenced. */
static struct request *next_request(unsigned index)
{
	struct slot *s = &worker.slots[index];
	struct request *r;

	if (list_empty(&worker.queue) || worker.fenced)
		return NULL;
	r = LIST_ENTRY(worker.queue.next, struct request, link);
	list_remove(&r->link);
	worker.n_queued--;
	r->running = true;
	s->req = r;
	s->since_ns = now_ns();
	worker.n_running++;
	return r;
}

/* Under lock. */
static void finish_request(unsigned index, struct request *r)
{
	struct conn *c = r->conn;

	worker.slots[index].req = NULL;
	worker.n_running--;
	if (c)
		c->req = NULL;
	request_free(r);
	if (c)
		conn_next(c);
	if (worker.own_poll && !worker.watchdog_has)
		conn_reap();
	if (worker.stopping)
		pthread_cond_broadcast(&worker.work);
}

static void run_one(unsigned index, struct request *r)
{
	struct call c = {0};

	current = r;
	run(r, &c);
	if (hooks.post_predict && c.result) {
		/* The response has left; the slot is not held against it. */
		pthread_mutex_lock(&worker.lock);
		worker.slots[index].req = NULL;
		pthread_mutex_unlock(&worker.lock);
		run_post_predict(&c);
	}
	call_fini(&c);
	current = NULL;
	pthread_mutex_lock(&worker.lock);
	finish_request(index, r);
	pthread_mutex_unlock(&worker.lock);
}

static bool over(void)
{
	return worker.stopping && list_empty(&worker.queue) &&
	       !worker.n_running;
}

/* ---- the loops ---- */

/* Takes the poller's role back from the watchdog. */
static void take_role(void)
{
	pthread_mutex_lock(&worker.lock);
	if (worker.watchdog_has) {
		worker.wants_role = true;
		poll_kick();
		while (worker.watchdog_has)
			pthread_cond_wait(&worker.turn, &worker.lock);
	}
	/* From here on the watchdog leaves it to us. */
	atomic_store(&worker.busy, false);
	worker.wants_role = false;
	pthread_mutex_unlock(&worker.lock);
}

static void become_busy(void)
{
	atomic_store(&worker.busy_since_ns, now_ns());
	atomic_store(&worker.busy, true);
	if (!worker.dozing)
		return;
	pthread_mutex_lock(&worker.lock);
	worker.dozing = false;
	pthread_cond_signal(&worker.wake);
	pthread_mutex_unlock(&worker.lock);
}

/* One slot: polls while it has nothing to run. */
static int run_alone(void)
{
	for (;;) {
		struct request *r;
		bool end;

		pthread_mutex_lock(&worker.lock);
		r = next_request(0);
		end = !r && over();
		pthread_mutex_unlock(&worker.lock);
		if (end)
			return 0;
		if (r) {
			if (!atomic_load(&worker.busy))
				become_busy();
			else
				atomic_store(&worker.busy_since_ns, now_ns());
			run_one(0, r);
			continue;
		}
		if (atomic_load(&worker.busy)) {
			Py_BEGIN_ALLOW_THREADS take_role();
			Py_END_ALLOW_THREADS continue;
		}
		/* Often the next request is there already, and the GIL need
		 * not change hands. */
		poll_once(0);
		if (!list_empty(&worker.queue))
			continue;
		Py_BEGIN_ALLOW_THREADS poll_once(worker.stopping ? 50 : -1);
		Py_END_ALLOW_THREADS if (PyErr_CheckSignals() < 0) return -1;
	}
}

static int run_beside(unsigned index)
{
	for (;;) {
		struct request *r = NULL;
		bool end = false;

		Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&worker.lock);
		while (!(r = next_request(index)) && !(end = over()))
			pthread_cond_wait(&worker.work, &worker.lock);
		pthread_mutex_unlock(&worker.lock);
		Py_END_ALLOW_THREADS if (end) return 0;
		run_one(index, r);
	}
}

int slot_run(unsigned index)
{
	return worker.own_poll ? run_alone() : run_beside(index);
}
