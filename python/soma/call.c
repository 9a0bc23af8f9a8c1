/* The calls into the user's code: arguments from the request, an answer from
 * the result. All of it runs with the GIL. */
#include "worker.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/err.h"

enum { PARAMETERS_MAX = N_ARGS };

static const char *const arg_names[N_ARGS] = {
	[ARG_PAYLOAD] = "payload",   [ARG_QUERY_PARAMS] = "query_params",
	[ARG_HEADERS] = "headers",   [ARG_BATCH_ID] = "batch_id",
	[ARG_RESPONSE] = "response",
};

/* How a method wants its arguments. */
struct plan {
	PyObject *method; /* owned; NULL: there is none */
	PyObject *names;  /* owned: those of `keywords` */
	enum call_arg positional[PARAMETERS_MAX], keywords[PARAMETERS_MAX];
	unsigned n_positional, n_keywords;
};

static struct plan predict, post_predict;

/* Python's side, all owned. */
static struct {
	PyObject *query_params; /* (text) */
	PyObject *headers;	/* ([(bytes, bytes)]) */
	PyObject *form;		/* (content type, body) */
	PyObject *response;	/* (response-like): an answer */
	PyObject *error;	/* (exception, request id): an answer */
	PyObject *post_error;	/* (exception, request id) */
} hooks;

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

static int plan_init(struct plan *p, PyObject *method, PyObject *positional,
		     PyObject *keywords)
{
	if (method == Py_None)
		return 0;
	if (plan_names(positional, p->positional, &p->n_positional) ||
	    plan_names(keywords, p->keywords, &p->n_keywords))
		return -1;
	Py_INCREF(method);
	p->method = method;
	Py_INCREF(keywords);
	p->names = keywords;
	return 0;
}

int call_init(PyObject *args)
{
	PyObject *method, *positional, *keywords;
	PyObject *post, *post_positional, *post_keywords;
	PyObject **all[] = {&hooks.query_params, &hooks.headers,
			    &hooks.form,	 &hooks.response,
			    &hooks.error,	 &hooks.post_error};

	if (!PyArg_ParseTuple(args, "(OO!O!)(OO!O!)OOOOOO", &method,
			      &PyTuple_Type, &positional, &PyTuple_Type,
			      &keywords, &post, &PyTuple_Type, &post_positional,
			      &PyTuple_Type, &post_keywords,
			      &hooks.query_params, &hooks.headers, &hooks.form,
			      &hooks.response, &hooks.error, &hooks.post_error))
		return -1;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		Py_INCREF(*all[i]);
	return plan_init(&predict, method, positional, keywords) ||
			       plan_init(&post_predict, post, post_positional,
					 post_keywords)
		       ? -1
		       : 0;
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

/* --- arguments -------------------------------------------------------------
 */

/* Clears the exception and puts its text into err. */
static void err_of_exception(struct err *err, const char *what)
{
	PyObject *type, *value, *trace, *text, *bytes = NULL;
	const char *s = NULL;

	PyErr_Fetch(&type, &value, &trace);
	text = value ? PyObject_Str(value) : NULL;
	if (text)
		bytes = PyUnicode_AsEncodedString(text, "utf-8",
						  "backslashreplace");
	if (bytes)
		s = PyBytes_AsString(bytes);
	err_set(err, E_INVALID, "%s: %s", what, s ? s : "?");
	PyErr_Clear();
	Py_XDECREF(bytes);
	Py_XDECREF(text);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
}

static PyObject *bytes_of(struct str s)
{
	return PyBytes_FromStringAndSize(s.p, (Py_ssize_t)s.n);
}

/* The value of "; charset=" into out; utf-8 without one. */
static void charset_of(struct str type, char *out, size_t size)
{
	static const char key[] = "charset=";

	snprintf(out, size, "utf-8");
	for (size_t i = 0; i + sizeof key - 1 < type.n; i++) {
		const char *p = type.p + i, *end = type.p + type.n;
		size_t n = 0;

		if (strncasecmp(p, key, sizeof key - 1))
			continue;
		p += sizeof key - 1;
		while (p < end && *p == '"')
			p++;
		while (p + n < end && !strchr("\"; \t", p[n]))
			n++;
		if (n)
			snprintf(out, size, "%.*s", (int)MIN(n, size - 1), p);
		return;
	}
}

static PyObject *make_text(struct request *r, struct str type, struct err *err)
{
	char charset[64];
	PyObject *text;

	charset_of(type, charset, sizeof charset);
	text = PyUnicode_Decode(r->body.data ? r->body.data : "",
				(Py_ssize_t)r->body.len, charset, "strict");
	if (!text)
		err_of_exception(err, "request body is not text");
	return text;
}

static PyObject *make_form(struct request *r, struct str type, struct err *err)
{
	PyObject *form = PyObject_CallFunction(
		hooks.form, "NN", bytes_of(type),
		bytes_of((struct str){r->body.data, r->body.len}));

	if (!form && PyErr_ExceptionMatches(PyExc_ValueError))
		err_of_exception(err, "request body is not a form");
	return form;
}

static bool begins(struct str s, const char *head)
{
	size_t n = strlen(head);

	return s.n >= n && strncasecmp(s.p, head, n) == 0;
}

/* By content type. On failure err is set, or an exception. */
static PyObject *make_payload(struct request *r, struct err *err)
{
	struct str type = STR("");

	request_header(r, STR("content-type"), &type);
	if (begins(type, "application/json")) {
		PyObject *value = json_in(&r->body, err);

		if (!value && err->code)
			err_wrap(err, "request body is not valid JSON");
		return value;
	}
	if (begins(type, "text/plain"))
		return make_text(r, type, err);
	if (begins(type, "multipart/form") ||
	    begins(type, "application/x-www-form-urlencoded"))
		return make_form(r, type, err);
	return bytes_of((struct str){r->body.data, r->body.len});
}

static PyObject *make_query_params(struct request *r)
{
	struct str target = request_target(r);
	const char *mark = memchr(target.p, '?', target.n);
	const char *from = mark ? mark + 1 : target.p + target.n;

	return PyObject_CallFunction(
		hooks.query_params, "N",
		PyUnicode_DecodeLatin1(
			from, (Py_ssize_t)(target.p + target.n - from), NULL));
}

/* With x-request-id, whoever made it. */
static PyObject *make_headers(struct request *r)
{
	PyObject *list = PyList_New(0);
	struct str unused;
	int rc = list ? 0 : -1;

	for (uint32_t i = 0; i <= r->n_headers && !rc; i++) {
		struct str name = STR("x-request-id"), value = str_of(r->id);
		PyObject *pair;

		if (i < r->n_headers) {
			const struct header *h = &r->headers[i];

			name = (struct str){r->head.data + h->name,
					    h->name_len};
			value = str_trim((struct str){r->head.data + h->value,
						      h->value_len});
		} else if (request_header(r, name, &unused)) {
			break;
		}
		pair = Py_BuildValue("NN", bytes_of(name), bytes_of(value));
		rc = pair ? PyList_Append(list, pair) : -1;
		Py_XDECREF(pair);
	}
	if (rc) {
		Py_XDECREF(list);
		return NULL;
	}
	return PyObject_CallFunction(hooks.headers, "N", list);
}

static PyObject *make_arg(struct request *r, enum call_arg arg, struct err *err)
{
	PyObject *payload;

	switch (arg) {
	case ARG_PAYLOAD:
		payload = make_payload(r, err);
		buf_fini(&r->body); /* once is enough memory */
		return payload;
	case ARG_QUERY_PARAMS:
		return make_query_params(r);
	case ARG_HEADERS:
		return make_headers(r);
	default:
		Py_RETURN_NONE; /* batch_id: not a batch */
	}
}

/* What predict and post_predict want: both see the same objects. */
static int make_args(struct request *r, struct call *call, struct err *err)
{
	for (unsigned arg = 0; arg < ARG_RESPONSE; arg++) {
		if (!wants(&predict, arg) && !wants(&post_predict, arg))
			continue;
		call->args[arg] = make_arg(r, arg, err);
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

/* --- answers ---------------------------------------------------------------
 */

static void reply_failed(struct request *r, struct buf *out,
			 struct reply *reply, int status, const char *code,
			 const char *message)
{
	buf_reset(out);
	error_text(out, code, str_of(message), r->id);
	*reply = (struct reply){.status = status,
				.type = "application/json",
				.body = {out->data, out->len}};
}

/* Of a hook: (status, header lines, body). Takes `answer`; call holds it. */
static int reply_of_hook(PyObject *answer, struct call *call,
			 struct reply *reply)
{
	const char *headers, *body;
	Py_ssize_t headers_len, body_len;
	int status;

	if (!answer)
		return -1;
	Py_XDECREF(call->hold);
	call->hold = answer;
	if (!PyArg_ParseTuple(answer, "iy#y#", &status, &headers, &headers_len,
			      &body, &body_len))
		return -1;
	*reply = (struct reply){.status = status,
				.headers = {headers, (size_t)headers_len},
				.body = {body, (size_t)body_len}};
	return 0;
}

/* The exception that is set, normalised and with its traceback. */
static PyObject *take_exception(void)
{
	PyObject *type, *value, *trace;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (value && trace)
		PyException_SetTraceback(value, trace);
	Py_XDECREF(type);
	Py_XDECREF(trace);
	return value;
}

static void reply_of_exception(struct request *r, struct call *call,
			       struct buf *out, struct reply *reply)
{
	PyObject *answer = PyObject_CallFunction(hooks.error, "Ns",
						 take_exception(), r->id);

	if (reply_of_hook(answer, call, reply) == 0)
		return;
	PyErr_Print();
	reply_failed(r, out, reply, 500, "predict_error",
		     "predict failed, and so did the report of its exception");
}

static int reply_of_text(PyObject *text, struct call *call, struct reply *reply)
{
	PyObject *bytes = PyUnicode_AsUTF8String(text);

	if (!bytes)
		return -1;
	call->hold = bytes;
	*reply = (struct reply){
		.status = 200,
		.type = "text/plain; charset=utf-8",
		.body = {PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes)}};
	return 0;
}

static int reply_of_bytes(PyObject *bytes, struct call *call,
			  struct reply *reply)
{
	if (!bytes)
		return -1;
	call->hold = bytes;
	*reply = (struct reply){
		.status = 200,
		.type = "application/octet-stream",
		.body = {PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes)}};
	return 0;
}

static bool is_plain(PyObject *o)
{
	return o == Py_None || PyDict_Check(o) || PyList_Check(o) ||
	       PyTuple_Check(o) || PyLong_Check(o) || PyFloat_Check(o);
}

static int reply_of_result(PyObject *result, struct call *call, struct buf *out,
			   struct reply *reply)
{
	if (PyUnicode_Check(result))
		return reply_of_text(result, call, reply);
	if (PyBytes_Check(result)) {
		Py_INCREF(result);
		return reply_of_bytes(result, call, reply);
	}
	if (PyByteArray_Check(result) || PyMemoryView_Check(result))
		return reply_of_bytes(PyBytes_FromObject(result), call, reply);
	if (!is_plain(result) && PyObject_HasAttrString(result, "status_code"))
		return reply_of_hook(PyObject_CallFunctionObjArgs(
					     hooks.response, result, NULL),
				     call, reply);
	if (json_out(out, result))
		return -1;
	*reply = (struct reply){.status = 200,
				.type = "application/json",
				.body = {out->data, out->len}};
	return 0;
}

/* --- calls -----------------------------------------------------------------
 */

void call_predict(struct request *r, struct call *call, struct buf *out,
		  struct reply *reply)
{
	struct err err = {0};
	PyObject *result = NULL;

	if (make_args(r, call, &err) == 0)
		result = enter(&predict, call);
	if (!result && err.code && !PyErr_Occurred()) {
		reply_failed(r, out, reply, 400, "invalid", err.msg);
		return;
	}
	call->args[ARG_RESPONSE] = result;
	if (!result || reply_of_result(result, call, out, reply)) {
		Py_CLEAR(call->args[ARG_RESPONSE]);
		reply_of_exception(r, call, out, reply);
	}
}

void call_post(struct request *r, struct call *call)
{
	PyObject *result;

	if (!post_predict.method || !call->args[ARG_RESPONSE])
		return;
	result = enter(&post_predict, call);
	if (!result)
		result = PyObject_CallFunction(hooks.post_error, "Ns",
					       take_exception(), r->id);
	if (!result)
		PyErr_Print();
	Py_XDECREF(result);
}

void call_fini(struct call *call)
{
	for (unsigned i = 0; i < N_ARGS; i++)
		Py_CLEAR(call->args[i]);
	Py_CLEAR(call->hold);
}
