/* What a method is given: Python objects made of a request. */
#include "call.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/err.h"

/* Clears the exception and puts its text into err. */
static void err_of_exception(struct err *err, int code, const char *what)
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
	err_set(err, code, "%s: %s", what, s ? s : "?");
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

/* Python's codecs for names. No text is in them, and the first takes the square
 * of a text's length, with the GIL. */
static bool is_for_names(const char *charset)
{
	return strcasestr(charset, "punycode") || strcasestr(charset, "idna");
}

static PyObject *make_text(struct request *r, struct str type, struct err *err)
{
	char charset[64];
	PyObject *text;

	charset_of(type, charset, sizeof charset);
	if (is_for_names(charset)) {
		err_set(err, E_INVALID,
			"request body is not text: unknown encoding: %s",
			charset);
		return NULL;
	}
	text = PyUnicode_Decode(r->body.data ? r->body.data : "",
				(Py_ssize_t)r->body.len, charset, "strict");
	if (!text)
		err_of_exception(err, E_INVALID, "request body is not text");
	return text;
}

static PyObject *make_form(struct request *r, struct str type, struct err *err)
{
	PyObject *form = PyObject_CallFunction(
		python.form, "NN", bytes_of(type),
		bytes_of((struct str){r->body.data, r->body.len}));

	if (!form && PyErr_ExceptionMatches(PyExc_ValueError))
		err_of_exception(err, E_INVALID, "request body is not a form");
	else if (!form && PyErr_ExceptionMatches(PyExc_OverflowError))
		err_of_exception(err, E_TOOBIG, "request body is not taken");
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
		python.query_params, "N",
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
	return PyObject_CallFunction(python.headers, "N", list);
}

PyObject *arg_make(struct request *r, enum call_arg arg, struct err *err)
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
