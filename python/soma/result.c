/* Answers: of what a method returned or raised. */
#include "stream.h"

#include <stdio.h>

void reply_failed(struct request *r, struct buf *out, struct reply *reply,
		  int status, const char *code, const char *message)
{
	buf_reset(out);
	error_text(out, code, str_of(message), r->id);
	*reply = (struct reply){.status = status,
				.type = "application/json",
				.body = {out->data, out->len}};
}

/* Of a hook: (status, header lines, body), or with two more: an iterator over
 * the rest of the body, what comes after the answer. Takes `answer`; call holds
 * it. */
static int reply_of_hook(PyObject *answer, struct call *call,
			 struct reply *reply)
{
	const char *headers, *body;
	PyObject *chunks = Py_None, *after = Py_None;
	Py_ssize_t headers_len, body_len;
	int status;

	if (!answer)
		return -1;
	Py_XDECREF(call->hold);
	call->hold = answer;
	if (!PyArg_ParseTuple(answer, "iy#y#|OO", &status, &headers,
			      &headers_len, &body, &body_len, &chunks, &after))
		return -1;
	if (!call->after && call_set_after(call, after))
		return -1;
	if (chunks != Py_None) {
		Py_INCREF(chunks);
		call->chunks = chunks;
	}
	*reply = (struct reply){.status = status,
				.headers = {headers, (size_t)headers_len},
				.body = {body, (size_t)body_len}};
	return 0;
}

PyObject *take_exception(void)
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

void reply_of_exception(struct request *r, const char *method,
			struct call *call, struct buf *out, struct reply *reply)
{
	PyObject *answer = PyObject_CallFunction(
		python.error, "Nss", take_exception(), r->id, method);
	char text[128];

	if (reply_of_hook(answer, call, reply) == 0)
		return;
	PyErr_Print();
	snprintf(text, sizeof text,
		 "%s failed, and so did the report of its exception", method);
	reply_failed(r, out, reply, 500, "predict_error", text);
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

int reply_of_result(PyObject *result, struct call *call, struct buf *out,
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
					     python.response, result, NULL),
				     call, reply);
	if (!is_plain(result) && stream_wanted(result)) {
		*reply = (struct reply){.status = 200};
		return stream_prepare(result, call);
	}
	if (json_out(out, result))
		return -1;
	*reply = (struct reply){.status = 200,
				.type = "application/json",
				.body = {out->data, out->len}};
	return 0;
}
