/* json_out.c: Python objects to JSON text, with json.dumps' rules, strictly
 * JSON. */
#include "worker.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int write_value(struct buf *b, PyObject *v, unsigned depth);

/* Already UTF-8: only what JSON wants escaped. */
static void quote(struct buf *b, const char *p, size_t n)
{
	size_t from = 0;

	buf_addc(b, '"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_add(b, p + from, i - from);
		from = i + 1;
		if (c == '\n')
			buf_add(b, "\\n", 2);
		else if (c < 0x20)
			buf_addf(b, "\\u%04x", c);
		else
			buf_addf(b, "\\%c", c);
	}
	buf_add(b, p + from, n - from);
	buf_addc(b, '"');
}

static int write_text(struct buf *b, PyObject *v)
{
	PyObject *bytes = PyUnicode_AsUTF8String(v);
	Py_ssize_t n;
	char *p;

	if (!bytes)
		return -1;
	if (PyBytes_AsStringAndSize(bytes, &p, &n) == 0)
		quote(b, p, (size_t)n);
	Py_DECREF(bytes);
	return 0;
}

static int write_float(struct buf *b, PyObject *v)
{
	double d = PyFloat_AsDouble(v);
	char *text;

	if (!isfinite(d)) {
		PyErr_Format(PyExc_ValueError,
			     "the result has a float that JSON cannot say "
			     "(%s); replace it, for example by None",
			     isnan(d) ? "nan"
			     : d > 0  ? "inf"
				      : "-inf");
		return -1;
	}
	text = PyOS_double_to_string(d, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
	if (!text)
		return -1;
	buf_adds(b, text);
	PyMem_Free(text);
	return 0;
}

static int write_int(struct buf *b, PyObject *v)
{
	int overflow;
	long long n = PyLong_AsLongLongAndOverflow(v, &overflow);
	PyObject *base, *text;
	int rc;

	if (!overflow) {
		if (n == -1 && PyErr_Occurred())
			return -1;
		buf_addf(b, "%lld", n);
		return 0;
	}
	/* Of a subclass too, the plain digits. */
	base = PyNumber_ToBase(v, 10);
	text = base ? PyUnicode_AsUTF8String(base) : NULL;
	rc = text ? 0 : -1;
	if (text)
		buf_adds(b, PyBytes_AsString(text));
	Py_XDECREF(base);
	Py_XDECREF(text);
	return rc;
}

static int write_key(struct buf *b, PyObject *key)
{
	if (PyUnicode_Check(key))
		return write_text(b, key);
	if (key == Py_None || PyBool_Check(key) || PyLong_Check(key) ||
	    PyFloat_Check(key)) {
		buf_addc(b, '"');
		if (write_value(b, key, 0) < 0)
			return -1;
		buf_addc(b, '"');
		return 0;
	}
	PyErr_Format(PyExc_TypeError,
		     "a key of a JSON object must be a string, not %R", key);
	return -1;
}

static int write_dict(struct buf *b, PyObject *v, unsigned depth)
{
	PyObject *key, *item;
	Py_ssize_t pos = 0;
	bool first = true;

	buf_addc(b, '{');
	while (PyDict_Next(v, &pos, &key, &item)) {
		if (!first)
			buf_addc(b, ',');
		first = false;
		if (write_key(b, key) < 0)
			return -1;
		buf_addc(b, ':');
		if (write_value(b, item, depth) < 0)
			return -1;
	}
	buf_addc(b, '}');
	return 0;
}

static int write_sequence(struct buf *b, PyObject *v, unsigned depth)
{
	bool is_list = PyList_Check(v);

	buf_addc(b, '[');
	/* The size anew each time: nothing may hold a list still. */
	for (Py_ssize_t i = 0; i < (is_list ? PyList_Size(v) : PyTuple_Size(v));
	     i++) {
		PyObject *item =
			is_list ? PyList_GetItem(v, i) : PyTuple_GetItem(v, i);
		int rc;

		if (i)
			buf_addc(b, ',');
		if (!item)
			return -1;
		Py_INCREF(item);
		rc = write_value(b, item, depth);
		Py_DECREF(item);
		if (rc < 0)
			return -1;
	}
	buf_addc(b, ']');
	return 0;
}

static int not_json(PyObject *v)
{
	PyObject *type = PyObject_Type(v);
	PyObject *name = type ? PyObject_GetAttrString(type, "__name__") : NULL;
	bool array = PyObject_HasAttrString(v, "tolist");

	if (name)
		PyErr_Format(PyExc_TypeError,
			     "Object of type %U is not JSON serializable%s",
			     name, array ? "; return its .tolist()" : "");
	Py_XDECREF(name);
	Py_XDECREF(type);
	return -1;
}

static int write_value(struct buf *b, PyObject *v, unsigned depth)
{
	if (v == Py_None)
		return buf_add(b, "null", 4), 0;
	if (v == Py_True)
		return buf_add(b, "true", 4), 0;
	if (v == Py_False)
		return buf_add(b, "false", 5), 0;
	if (PyUnicode_Check(v))
		return write_text(b, v);
	if (PyLong_Check(v))
		return write_int(b, v);
	if (PyFloat_Check(v))
		return write_float(b, v);
	if (depth == JSON_DEPTH) {
		PyErr_Format(PyExc_ValueError,
			     "the result is nested deeper than %d levels, or "
			     "contains itself",
			     JSON_DEPTH);
		return -1;
	}
	if (PyDict_Check(v))
		return write_dict(b, v, depth + 1);
	if (PyList_Check(v) || PyTuple_Check(v))
		return write_sequence(b, v, depth + 1);
	return not_json(v);
}

int json_out(struct buf *b, PyObject *value)
{
	if (write_value(b, value, 0) < 0)
		return -1;
	if (b->full) {
		PyErr_SetString(PyExc_ValueError,
				"the result is larger than 2 GiB");
		return -1;
	}
	return 0;
}
