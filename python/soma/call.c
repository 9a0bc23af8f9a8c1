/* The user's methods: which takes what, and calling them. */
#include "call.h"
#include "stages.h"

#include <stdio.h>
#include <string.h>

#include "core/err.h"

enum { PARAMETERS_MAX = N_ARGS };

static const char *const arg_names[N_ARGS] = {
	[ARG_PAYLOAD] = "payload",   [ARG_QUERY_PARAMS] = "query_params",
	[ARG_HEADERS] = "headers",   [ARG_BATCH_ID] = "batch_id",
	[ARG_RESPONSE] = "response",
};

/* How a method wants its arguments. */
struct plan {
	char *name;	  /* owned */
	PyObject *method; /* owned; NULL: there is none */
	PyObject *names;  /* owned: those of `keywords` */
	enum call_arg positional[PARAMETERS_MAX], keywords[PARAMETERS_MAX];
	unsigned n_positional, n_keywords;
};

/* The HTTP methods that a method may be for; predict is for the first. */
static const llhttp_method_t verbs[] = {HTTP_POST, HTTP_GET, HTTP_PUT,
					HTTP_PATCH, HTTP_DELETE};

static struct plan plans[ARRAY_LEN(verbs)], post_predict;

struct python python;

static struct plan *plan_of(uint8_t method)
{
	if (method == HTTP_HEAD)
		method = HTTP_GET; /* whose body is left out */
	for (unsigned i = 0; i < ARRAY_LEN(verbs); i++)
		if (verbs[i] == method)
			return &plans[i];
	return NULL;
}

bool call_serves(uint8_t method)
{
	const struct plan *p = plan_of(method);

	return p && p->method;
}

const char *call_name(const struct request *r)
{
	return plan_of(r->method)->name;
}

/* --- setting up ------------------------------------------------------------
 */

static int plan_names(PyObject *names, enum call_arg *ret, unsigned *ret_n)
{
	Py_ssize_t n = PyTuple_Size(names);

	if (n < 0 || n > PARAMETERS_MAX)
		return -1;
	for (Py_ssize_t i = 0; i < n; i++) {
		PyObject *name = PyTuple_GetItem(names, i);
		unsigned arg = 0;

		while (arg < N_ARGS &&
		       PyUnicode_CompareWithASCIIString(name, arg_names[arg]))
			arg++;
		if (arg == N_ARGS) {
			PyErr_Format(PyExc_ValueError, "unknown argument %R",
				     name);
			return -1;
		}
		ret[i] = (enum call_arg)arg;
	}
	*ret_n = (unsigned)n;
	return 0;
}

/* Of (callable, positional names, keyword names). */
static int plan_init(struct plan *p, const char *name, PyObject *triple)
{
	PyObject *method, *positional, *keywords;

	if (!PyArg_ParseTuple(triple, "OO!O!", &method, &PyTuple_Type,
			      &positional, &PyTuple_Type, &keywords) ||
	    plan_names(positional, p->positional, &p->n_positional) ||
	    plan_names(keywords, p->keywords, &p->n_keywords))
		return -1;
	Py_INCREF(method);
	p->method = method;
	Py_INCREF(keywords);
	p->names = keywords;
	p->name = mem_strdup(name);
	return 0;
}

/* The methods of {"POST": ("predict", callable, ...)}; what is there for each
 * is allowed. */
static int plans_init(PyObject *methods)
{
	size_t n = 0;

	for (unsigned i = 0; i < ARRAY_LEN(verbs); i++) {
		const char *verb = llhttp_method_name(verbs[i]), *name;
		PyObject *found = PyDict_GetItemString(methods, verb);
		PyObject *triple;

		if (!found && !(verbs[i] == HTTP_GET && worker.summary))
			continue;
		n += (size_t)snprintf(worker.allow + n, sizeof worker.allow - n,
				      "%s%s, ", verb,
				      verbs[i] == HTTP_GET ? ", HEAD" : "");
		if (!found)
			continue;
		if (!PyArg_ParseTuple(found, "sO!", &name, &PyTuple_Type,
				      &triple) ||
		    plan_init(&plans[i], name, triple))
			return -1;
	}
	snprintf(worker.allow + n, sizeof worker.allow - n, "OPTIONS");
	return 0;
}

int call_init(PyObject *args)
{
	PyObject *methods, *post;
	const char *summary;
	PyObject **all[] = {&python.query_params, &python.headers,
			    &python.form,	  &python.response,
			    &python.chunks,	  &python.release,
			    &python.go_on,	  &python.stream_error,
			    &python.error,	  &python.late_error};

	if (!PyArg_ParseTuple(args, "O!OzOOOOOOOOOO", &PyDict_Type, &methods,
			      &post, &summary, &python.query_params,
			      &python.headers, &python.form, &python.response,
			      &python.chunks, &python.release, &python.go_on,
			      &python.stream_error, &python.error,
			      &python.late_error))
		return -1;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		Py_INCREF(*all[i]);
	if (summary)
		worker.summary = mem_strdup(summary);
	if (plans_init(methods))
		return -1;
	return post == Py_None ? 0
			       : plan_init(&post_predict, "post_predict", post);
}

static bool wants(const struct plan *p, enum call_arg arg)
{
	for (unsigned i = 0; p->method && i < p->n_positional; i++)
		if (p->positional[i] == arg)
			return true;
	for (unsigned i = 0; p->method && i < p->n_keywords; i++)
		if (p->keywords[i] == arg)
			return true;
	return false;
}

/* What the method and post_predict want: both see the same objects. */
static int make_args(struct request *r, const struct plan *p, struct call *call,
		     struct err *err)
{
	for (unsigned arg = 0; arg < ARG_RESPONSE; arg++) {
		if (!wants(p, arg) && !wants(&post_predict, arg))
			continue;
		call->args[arg] = arg_make(r, arg, err);
		if (!call->args[arg])
			return -1;
	}
	return 0;
}

static PyObject *enter(const struct plan *p, const struct call *call)
{
	PyObject *args = PyTuple_New(p->n_positional), *keywords = NULL;
	PyObject *result;

	if (!args)
		return NULL;
	for (unsigned i = 0; i < p->n_positional; i++) {
		PyObject *o = call->args[p->positional[i]];

		Py_INCREF(o);
		PyTuple_SetItem(args, i, o);
	}
	if (p->n_keywords)
		keywords = PyDict_New();
	for (unsigned i = 0; keywords && i < p->n_keywords; i++)
		PyDict_SetItem(keywords, PyTuple_GetItem(p->names, i),
			       call->args[p->keywords[i]]);
	result = PyObject_Call(p->method, args, keywords);
	Py_DECREF(args);
	Py_XDECREF(keywords);
	return result;
}

/* (result, callable): the callable is for later. Takes result. */
static PyObject *without_after(PyObject *result, struct call *call)
{
	PyObject *first, *second;

	if (!result || !PyTuple_Check(result) || PyTuple_Size(result) != 2)
		return result;
	first = PyTuple_GetItem(result, 0);
	second = PyTuple_GetItem(result, 1);
	if (!PyCallable_Check(second))
		return result;
	Py_INCREF(first);
	Py_INCREF(second);
	Py_DECREF(result);
	call->after = second;
	return first;
}

/* False: it is answered. */
static bool unpacked(struct request *r, struct buf *out, struct reply *reply)
{
	struct err err = {0};
	int rc;

	Py_BEGIN_ALLOW_THREADS;
	rc = unpack_body(r, &err);
	Py_END_ALLOW_THREADS;
	if (!rc)
		return true;
	reply_failed(r, out, reply, err_http(rc), err_word(rc), err.msg);
	if (rc == E_ENCODING)
		reply->headers = STR("accept-encoding: gzip, deflate\r\n");
	return false;
}

bool call_prepare(struct request *r, struct call *call, struct buf *out,
		  struct reply *reply)
{
	struct err err = {0};

	if (r->encoded && !unpacked(r, out, reply))
		return false;
	if (make_args(r, plan_of(r->method), call, &err) == 0)
		return true;
	if (err.code && !PyErr_Occurred())
		reply_failed(r, out, reply, err_http(err.code),
			     err_word(err.code), err.msg);
	else
		reply_of_exception(r, call_name(r), call, out, reply);
	return false;
}

void call_answer(struct request *r, struct call *call, PyObject *result,
		 struct buf *out, struct reply *reply)
{
	result = without_after(result, call);
	call->args[ARG_RESPONSE] = result;
	if (!result || reply_of_result(result, call, out, reply)) {
		Py_CLEAR(call->args[ARG_RESPONSE]);
		reply_of_exception(r, call_name(r), call, out, reply);
	}
}

void call_run(struct request *r, struct call *call, struct buf *out,
	      struct reply *reply)
{
	PyObject *result;

	if (!call_prepare(r, call, out, reply))
		return;
	r->called_ns = now_ns();
	result = enter(plan_of(r->method), call);
	r->returned_ns = now_ns();
	call_answer(r, call, result, out, reply);
}

/* One argument of all calls. */
static PyObject *list_of(struct call *const *calls, size_t n, unsigned arg)
{
	PyObject *list = PyList_New((Py_ssize_t)n);

	for (size_t i = 0; list && i < n; i++) {
		Py_INCREF(calls[i]->args[arg]);
		PyList_SetItem(list, (Py_ssize_t)i, calls[i]->args[arg]);
	}
	return list;
}

PyObject *call_together(struct request *r, struct call *const *calls, size_t n)
{
	const struct plan *p = plan_of(r->method);
	struct call lists = {.hold = NULL};
	PyObject *result = NULL;
	bool made = true;

	for (unsigned arg = 0; arg < ARG_RESPONSE && made; arg++) {
		if (!wants(p, arg))
			continue;
		lists.args[arg] = list_of(calls, n, arg);
		made = lists.args[arg];
	}
	if (made)
		result = enter(p, &lists);
	call_fini(&lists);
	return result;
}

static void check_late(PyObject *result, const struct request *r,
		       const char *name)
{
	if (!result) {
		worker_lock();
		stages_post_failed();
		worker_unlock();
		result = PyObject_CallFunction(python.late_error, "Nss",
					       take_exception(), r->id, name);
	}
	if (!result)
		PyErr_Print();
	Py_XDECREF(result);
}

bool call_has_after(const struct call *call)
{
	return call->args[ARG_RESPONSE] && (post_predict.method || call->after);
}

void call_after(struct request *r, struct call *call)
{
	char name[64];

	if (!call->args[ARG_RESPONSE])
		return;
	if (post_predict.method)
		check_late(enter(&post_predict, call), r, post_predict.name);
	if (call->after) {
		snprintf(name, sizeof name, "the callback of %s", call_name(r));
		check_late(PyObject_CallObject(call->after, NULL), r, name);
	}
}

void call_fini(struct call *call)
{
	for (unsigned i = 0; i < N_ARGS; i++)
		Py_CLEAR(call->args[i]);
	Py_CLEAR(call->after);
	Py_CLEAR(call->hold);
	Py_CLEAR(call->chunks);
}
