/* The user's methods: which takes what, and calling them. */
#include "stages.h"
#include "stream.h"

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
	bool is_async;
};

/* The HTTP methods that a method may be for; predict is for the first. */
static const llhttp_method_t verbs[] = {HTTP_POST, HTTP_GET, HTTP_PUT,
					HTTP_PATCH, HTTP_DELETE};

static struct plan plans[ARRAY_LEN(verbs)], pre_predict, post_predict;

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

/* Of (callable, positional names, keyword names, whether it is async). */
static int plan_init(struct plan *p, const char *name, PyObject *parts)
{
	PyObject *method, *positional, *keywords;
	int is_async;

	if (!PyArg_ParseTuple(parts, "OO!O!p", &method, &PyTuple_Type,
			      &positional, &PyTuple_Type, &keywords,
			      &is_async) ||
	    plan_names(positional, p->positional, &p->n_positional) ||
	    plan_names(keywords, p->keywords, &p->n_keywords))
		return -1;
	Py_INCREF(method);
	p->method = method;
	Py_INCREF(keywords);
	p->names = keywords;
	p->name = mem_strdup(name);
	p->is_async = is_async;
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
		PyObject *parts;

		if (!found && !(verbs[i] == HTTP_GET && worker.summary))
			continue;
		n += (size_t)snprintf(worker.allow + n, sizeof worker.allow - n,
				      "%s%s, ", verb,
				      verbs[i] == HTTP_GET ? ", HEAD" : "");
		if (!found)
			continue;
		if (!PyArg_ParseTuple(found, "sO!", &name, &PyTuple_Type,
				      &parts) ||
		    plan_init(&plans[i], name, parts))
			return -1;
	}
	snprintf(worker.allow + n, sizeof worker.allow - n, "OPTIONS");
	return 0;
}

int call_init(PyObject *args)
{
	PyObject *methods, *pre, *post;
	const char *summary;
	PyObject **all[] = {
		&python.query_params, &python.headers,	    &python.form,
		&python.response,     &python.chunks,	    &python.release,
		&python.go_on,	      &python.stream_error, &python.error,
		&python.late_error,   &python.is_async,	    &python.begin_task};

	if (!PyArg_ParseTuple(args, "O!OOzOOOOOOOOOOOO", &PyDict_Type, &methods,
			      &pre, &post, &summary, &python.query_params,
			      &python.headers, &python.form, &python.response,
			      &python.chunks, &python.release, &python.go_on,
			      &python.stream_error, &python.error,
			      &python.late_error, &python.is_async,
			      &python.begin_task))
		return -1;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		Py_INCREF(*all[i]);
	if (summary)
		worker.summary = mem_strdup(summary);
	if (plans_init(methods) ||
	    (pre != Py_None && plan_init(&pre_predict, "pre_predict", pre)) ||
	    (post != Py_None && plan_init(&post_predict, "post_predict", post)))
		return -1;
	return 0;
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

/* What the method and the hooks want: all see the same objects. */
static int make_args(struct request *r, const struct plan *p, struct err *err)
{
	for (unsigned arg = 0; arg < ARG_RESPONSE; arg++) {
		if (r->call.args[arg] || /* made for pre_predict */
		    (!wants(p, arg) && !wants(&pre_predict, arg) &&
		     !wants(&post_predict, arg)))
			continue;
		r->call.args[arg] = arg_make(r, arg, err);
		if (!r->call.args[arg])
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

int call_set_after(struct call *call, PyObject *after)
{
	PyObject *answer;
	int is_async;

	if (after == Py_None)
		return 0;
	answer = PyObject_CallFunctionObjArgs(python.is_async, after, NULL);
	is_async = answer ? PyObject_IsTrue(answer) : -1;
	Py_XDECREF(answer);
	if (is_async < 0)
		return -1;
	Py_INCREF(after);
	call->after = after;
	call->after_async = is_async;
	return 0;
}

/* (result, callable): the callable is for later. Takes result. */
static PyObject *without_after(PyObject *result, struct call *call)
{
	PyObject *first, *second;
	int rc;

	if (!result || !PyTuple_Check(result) || PyTuple_Size(result) != 2)
		return result;
	first = PyTuple_GetItem(result, 0);
	second = PyTuple_GetItem(result, 1);
	if (!PyCallable_Check(second))
		return result;
	Py_INCREF(first);
	rc = call_set_after(call, second);
	Py_DECREF(result);
	if (rc)
		Py_CLEAR(first);
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

bool call_prepare(struct request *r, struct buf *out, struct reply *reply)
{
	struct err err = {0};

	if (r->encoded && !unpacked(r, out, reply))
		return false;
	r->encoded = false;
	if (make_args(r, plan_of(r->method), &err) == 0)
		return true;
	if (err.code && !PyErr_Occurred())
		reply_failed(r, out, reply, err_http(err.code),
			     err_word(err.code), err.msg);
	else
		reply_of_exception(r, call_name(r), &r->call, out, reply);
	return false;
}

void call_answer(struct request *r, PyObject *result, struct buf *out,
		 struct reply *reply)
{
	struct call *call = &r->call;

	result = without_after(result, call);
	call->args[ARG_RESPONSE] = result;
	if (!result || reply_of_result(result, call, out, reply)) {
		Py_CLEAR(call->args[ARG_RESPONSE]);
		reply_of_exception(r, call_name(r), call, out, reply);
	}
}

void call_run(struct request *r, struct buf *out, struct reply *reply)
{
	const struct plan *p = plan_of(r->method);
	PyObject *result;

	if (!call_prepare(r, out, reply))
		return;
	r->called_ns = now_ns();
	result = enter(p, &r->call);
	if (result && p->is_async)
		result = task_await(result, false);
	r->returned_ns = now_ns();
	if (!result && p->is_async && stream_cancelled())
		PyErr_Clear(); /* by us: nobody is there to be told */
	else
		call_answer(r, result, out, reply);
}

/* One argument of all. */
static PyObject *list_of(struct request *const *all, size_t n, unsigned arg)
{
	PyObject *list = PyList_New((Py_ssize_t)n);

	for (size_t i = 0; list && i < n; i++) {
		PyObject *o = all[i]->call.args[arg];

		Py_INCREF(o);
		PyList_SetItem(list, (Py_ssize_t)i, o);
	}
	return list;
}

PyObject *call_together(struct request *const *all, size_t n)
{
	const struct plan *p = plan_of(all[0]->method);
	struct call lists = {.hold = NULL};
	PyObject *result = NULL;
	bool made = true;

	for (unsigned arg = 0; arg < ARG_RESPONSE && made; arg++) {
		if (!wants(p, arg))
			continue;
		lists.args[arg] = list_of(all, n, arg);
		made = lists.args[arg];
	}
	if (made)
		result = enter(p, &lists);
	if (result && p->is_async)
		result = task_await(result, true);
	call_fini(&lists);
	return result;
}

/* --- hooks -----------------------------------------------------------------
 */

bool call_has_pre(void)
{
	return pre_predict.method;
}

bool call_next(struct request *r)
{
	if (!r->call.args[ARG_RESPONSE])
		return false;
	if (r->hook < HOOK_POST && post_predict.method)
		r->hook = HOOK_POST;
	else if (r->hook < HOOK_AFTER && r->call.after)
		r->hook = HOOK_AFTER;
	else
		return false;
	return true;
}

bool call_is_async(const struct request *r)
{
	switch (r->hook) {
	case HOOK_PRE:
		return pre_predict.is_async;
	case HOOK_POST:
		return post_predict.is_async;
	case HOOK_AFTER:
		return r->call.after_async;
	default:
		return r->hook == HOOK_AWAIT;
	}
}

/* For messages. */
static const char *hook_name(const struct request *r, char *text, size_t size)
{
	if (r->hook == HOOK_PRE)
		return pre_predict.name;
	if (r->hook == HOOK_POST)
		return post_predict.name;
	snprintf(text, size, "the callback of %s", call_name(r));
	return text;
}

/* A def that made something to be awaited has done nothing yet. Takes result.
 */
static PyObject *not_awaitable(const struct request *r, PyObject *result)
{
	char text[64];

	if (!result || !PyObject_HasAttrString(result, "__await__"))
		return result;
	PyErr_Format(PyExc_TypeError,
		     "%s returned a coroutine, which nobody awaits: write "
		     "async def",
		     hook_name(r, text, sizeof text));
	Py_DECREF(result);
	return NULL;
}

PyObject *call_hook(struct request *r, struct buf *out, struct reply *reply)
{
	PyObject *result;

	if (r->hook == HOOK_PRE)
		result = call_prepare(r, out, reply)
				 ? enter(&pre_predict, &r->call)
				 : NULL;
	else if (r->hook == HOOK_POST)
		result = enter(&post_predict, &r->call);
	else
		result = PyObject_CallObject(r->call.after, NULL);
	return call_is_async(r) ? result : not_awaitable(r, result);
}

bool call_pre_end(struct request *r, PyObject *result, struct buf *out,
		  struct reply *reply)
{
	if (!result && reply->status)
		return false;
	if (!result) {
		reply_of_exception(r, pre_predict.name, &r->call, out, reply);
		return false;
	}
	Py_XDECREF(r->call.args[ARG_PAYLOAD]);
	r->call.args[ARG_PAYLOAD] = result;
	return true;
}

void call_post_end(struct request *r, PyObject *result)
{
	char name[64];

	if (!result) {
		worker_lock();
		stages_post_failed();
		worker_unlock();
		result = PyObject_CallFunction(python.late_error, "Nss",
					       take_exception(), r->id,
					       hook_name(r, name, sizeof name));
	}
	if (!result)
		PyErr_Print();
	Py_XDECREF(result);
}

void call_fini(struct call *call)
{
	for (unsigned i = 0; i < N_ARGS; i++)
		Py_CLEAR(call->args[i]);
	Py_CLEAR(call->after);
	Py_CLEAR(call->hold);
	Py_CLEAR(call->chunks);
}
