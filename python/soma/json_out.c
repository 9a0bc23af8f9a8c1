/* Python objects to JSON text, with the meaning of json.dumps but for what is
 * not JSON: NaN, infinities and lone surrogates are errors. An error says
 * where in the result it is. */
#include "worker.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Exported by every CPython since 3.3, in the stable ABI's list since 3.10. */
#if defined(Py_LIMITED_API) && Py_LIMITED_API < 0x030A0000
const char *PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *ret_size);
#endif

enum { PATH_MAX_BYTES = 200 };

struct writing {
	struct buf *b;
	/* Filled from its end while an error travels up. */
	char path[PATH_MAX_BYTES + 1];
	size_t path_at;
	bool path_cut; /* the outer part did not fit */
};

static int put(struct writing *w, PyObject *o, int depth);

/* --- errors ----------------------------------------------------------------
 */

static void at_text(struct writing *w, const char *text)
{
	size_t n = strlen(text);

	if (w->path_cut || n > w->path_at) {
		w->path_cut = true;
		return;
	}
	w->path_at -= n;
	memcpy(w->path + w->path_at, text, n);
}

static int at_index(struct writing *w, Py_ssize_t i)
{
	char text[32];

	snprintf(text, sizeof text, "[%zd]", i);
	at_text(w, text);
	return -1;
}

/* Names the key; keeps the exception that is set. */
static int at_key(struct writing *w, PyObject *key)
{
	PyObject *type, *value, *trace, *repr;
	const char *s = NULL;
	char text[64];

	PyErr_Fetch(&type, &value, &trace);
	repr = PyObject_Repr(key);
	if (repr)
		s = PyUnicode_AsUTF8AndSize(repr, NULL);
	if (s && strlen(s) < 50)
		snprintf(text, sizeof text, "[%s]", s);
	else
		snprintf(text, sizeof text, "[...]");
	at_text(w, text);
	PyErr_Clear();
	Py_XDECREF(repr);
	PyErr_Restore(type, value, trace);
	return -1;
}

static const char *type_name(PyObject *o, PyObject **ret_hold)
{
	const char *s = NULL;

	*ret_hold = PyObject_GetAttrString((PyObject *)Py_TYPE(o), "__name__");
	if (*ret_hold)
		s = PyUnicode_AsUTF8AndSize(*ret_hold, NULL);
	if (!s)
		PyErr_Clear();
	return s ? s : "?";
}

/* numpy's and torch's single values have an empty shape. */
static bool is_scalar(PyObject *o)
{
	PyObject *shape = PyObject_GetAttrString(o, "shape");
	Py_ssize_t n = shape ? PyObject_Size(shape) : -1;

	PyErr_Clear();
	Py_XDECREF(shape);
	return n == 0 && PyObject_HasAttrString(o, "item");
}

static int refuse_type(PyObject *o)
{
	PyObject *hold;
	const char *name = type_name(o, &hold);
	const char *remedy = "";

	if (PyObject_HasAttrString(o, "tolist"))
		remedy = is_scalar(o) ? "; return its .item()"
				      : "; return its .tolist()";
	else if (PyBytes_Check(o))
		remedy = "; return bytes by themselves, or decode them";
	else if (PyIter_Check(o) || PyAnySet_Check(o))
		remedy = "; return a list of it";
	PyErr_Format(PyExc_TypeError,
		     "Object of type %s is not JSON "
		     "serializable%s",
		     name, remedy);
	Py_XDECREF(hold);
	return -1;
}

/* Puts the place into the message of the exception that is set. */
static void name_place(struct writing *w)
{
	PyObject *type, *value, *trace, *text;

	if (w->path_at == PATH_MAX_BYTES)
		return;
	if (!PyErr_ExceptionMatches(PyExc_TypeError) &&
	    !PyErr_ExceptionMatches(PyExc_ValueError))
		return;
	PyErr_Fetch(&type, &value, &trace);
	text = value ? PyObject_Str(value) : NULL;
	if (text) {
		/* UnicodeEncodeError takes more than a text. */
		PyErr_Format(PyErr_GivenExceptionMatches(type, PyExc_TypeError)
				     ? PyExc_TypeError
				     : PyExc_ValueError,
			     "%U (at result%s%s)", text,
			     w->path_cut ? "..." : "", w->path + w->path_at);
		Py_DECREF(text);
		Py_XDECREF(type);
		Py_XDECREF(value);
		Py_XDECREF(trace);
	} else {
		PyErr_Clear();
		PyErr_Restore(type, value, trace);
	}
}

/* --- values ----------------------------------------------------------------
 */

static int put_raw(struct writing *w, const char *s)
{
	buf_adds(w->b, s);
	return 0;
}

static int put_text(struct writing *w, PyObject *o)
{
	static const char hex[] = "0123456789abcdef";
	Py_ssize_t n;
	const char *p = PyUnicode_AsUTF8AndSize(o, &n), *end, *from;

	if (!p) {
		if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
			PyErr_Clear();
			PyErr_SetString(PyExc_ValueError,
					"a str holds a lone surrogate, which "
					"UTF-8 cannot carry; encode it with "
					"errors='replace' first");
		}
		return -1;
	}
	buf_reserve(w->b, (size_t)n + 2);
	buf_addc(w->b, '"');
	for (from = p, end = p + n; p < end; p++) {
		unsigned char c = (unsigned char)*p;
		char escape[6] = {'\\', 'u',	     '0',
				  '0',	hex[c >> 4], hex[c & 15]};

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_add(w->b, from, (size_t)(p - from));
		from = p + 1;
		if (c == '"' || c == '\\')
			buf_add(w->b, (char[]){'\\', (char)c}, 2);
		else if (c == '\n')
			buf_adds(w->b, "\\n");
		else if (c == '\r')
			buf_adds(w->b, "\\r");
		else if (c == '\t')
			buf_adds(w->b, "\\t");
		else
			buf_add(w->b, escape, sizeof escape);
	}
	buf_add(w->b, from, (size_t)(end - from));
	buf_addc(w->b, '"');
	return 0;
}

/* Plain digits, whatever a subclass's str() says. */
static int put_int(struct writing *w, PyObject *o)
{
	int overflow;
	long long v = PyLong_AsLongLongAndOverflow(o, &overflow);
	char digits[24], *at = digits + sizeof digits;
	unsigned long long u =
		v < 0 ? 0 - (unsigned long long)v : (unsigned long long)v;
	PyObject *text;
	const char *s;

	if (v == -1 && !overflow && PyErr_Occurred())
		return -1;
	if (!overflow) {
		do
			*--at = (char)('0' + u % 10);
		while (u /= 10);
		if (v < 0)
			*--at = '-';
		buf_add(w->b, at, (size_t)(digits + sizeof digits - at));
		return 0;
	}
	text = PyNumber_ToBase(o, 10);
	s = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	if (s)
		buf_adds(w->b, s);
	Py_XDECREF(text);
	return s ? 0 : -1;
}

static int put_float(struct writing *w, PyObject *o)
{
	double v = PyFloat_AsDouble(o);
	char *s;

	if (v == -1.0 && PyErr_Occurred())
		return -1;
	if (!isfinite(v)) {
		PyErr_Format(PyExc_ValueError,
			     "JSON has no %s; return None in its place",
			     isnan(v)  ? "NaN"
			     : v > 0.0 ? "infinity"
				       : "-infinity");
		return -1;
	}
	s = PyOS_double_to_string(v, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
	if (!s)
		return -1;
	buf_adds(w->b, s);
	PyMem_Free(s);
	return 0;
}

static int put_key(struct writing *w, PyObject *key)
{
	int rc;

	if (PyUnicode_Check(key))
		return put_text(w, key);
	if (!PyLong_Check(key) && !PyFloat_Check(key) && key != Py_None) {
		PyObject *hold;

		PyErr_Format(PyExc_TypeError,
			     "keys must be str, int, float, bool or None, "
			     "not %s",
			     type_name(key, &hold));
		Py_XDECREF(hold);
		return -1;
	}
	buf_addc(w->b, '"');
	rc = put(w, key, 0);
	buf_addc(w->b, '"');
	return rc;
}

static int put_member(struct writing *w, PyObject *key, PyObject *value,
		      int depth, bool first)
{
	if (!first)
		buf_addc(w->b, ',');
	if (put_key(w, key))
		return -1;
	buf_addc(w->b, ':');
	if (put(w, value, depth + 1))
		return at_key(w, key);
	return 0;
}

/* A subclass may have an order of its own. */
static int put_mapping(struct writing *w, PyObject *o, int depth)
{
	PyObject *items = PyMapping_Items(o);
	Py_ssize_t n = items ? PyList_Size(items) : -1;
	int rc = n < 0 ? -1 : 0;

	for (Py_ssize_t i = 0; i < n && !rc; i++) {
		PyObject *pair = PyList_GetItem(items, i);
		PyObject *key = pair ? PyTuple_GetItem(pair, 0) : NULL;
		PyObject *value = key ? PyTuple_GetItem(pair, 1) : NULL;

		rc = value ? put_member(w, key, value, depth, i == 0) : -1;
	}
	Py_XDECREF(items);
	return rc;
}

static int put_dict(struct writing *w, PyObject *o, int depth)
{
	PyObject *key, *value;
	Py_ssize_t at = 0;
	bool first = true;
	int rc = 0;

	buf_addc(w->b, '{');
	if (!PyDict_CheckExact(o)) {
		rc = put_mapping(w, o, depth);
	} else {
		Py_BEGIN_CRITICAL_SECTION(o);
		while (!rc && PyDict_Next(o, &at, &key, &value)) {
			/* Owned: repr() of an int subclass is Python. */
			Py_INCREF(key);
			Py_INCREF(value);
			rc = put_member(w, key, value, depth, first);
			Py_DECREF(key);
			Py_DECREF(value);
			first = false;
		}
		Py_END_CRITICAL_SECTION();
	}
	buf_addc(w->b, '}');
	return rc;
}

/* A new reference; NULL past its end, which may move meanwhile. */
static PyObject *list_item(PyObject *list, Py_ssize_t i)
{
	PyObject *item;

	if (i >= PyList_Size(list))
		return NULL;
#ifdef Py_GIL_DISABLED
	item = PyList_GetItemRef(list, i);
	if (!item)
		PyErr_Clear();
#else
	item = PyList_GetItem(list, i);
	Py_INCREF(item);
#endif
	return item;
}

static int put_list(struct writing *w, PyObject *o, int depth)
{
	PyObject *item;

	buf_addc(w->b, '[');
	for (Py_ssize_t i = 0; (item = list_item(o, i)); i++) {
		int rc;

		if (i)
			buf_addc(w->b, ',');
		rc = put(w, item, depth + 1);
		Py_DECREF(item);
		if (rc)
			return at_index(w, i);
	}
	buf_addc(w->b, ']');
	return 0;
}

static int put_tuple(struct writing *w, PyObject *o, int depth)
{
	Py_ssize_t n = PyTuple_Size(o);

	buf_addc(w->b, '[');
	for (Py_ssize_t i = 0; i < n; i++) {
		if (i)
			buf_addc(w->b, ',');
		if (put(w, PyTuple_GetItem(o, i), depth + 1))
			return at_index(w, i);
	}
	buf_addc(w->b, ']');
	return 0;
}

static int put(struct writing *w, PyObject *o, int depth)
{
	if (depth > JSON_DEPTH_MAX) {
		PyErr_Format(PyExc_ValueError,
			     "the result is nested deeper than %d levels, or "
			     "holds itself",
			     JSON_DEPTH_MAX);
		return -1;
	}
	if (PyUnicode_Check(o))
		return put_text(w, o);
	if (o == Py_None)
		return put_raw(w, "null");
	if (o == Py_True)
		return put_raw(w, "true");
	if (o == Py_False)
		return put_raw(w, "false");
	if (PyLong_Check(o))
		return put_int(w, o);
	if (PyFloat_Check(o))
		return put_float(w, o);
	if (PyDict_Check(o))
		return put_dict(w, o, depth);
	if (PyList_Check(o))
		return put_list(w, o, depth);
	if (PyTuple_Check(o))
		return put_tuple(w, o, depth);
	return refuse_type(o);
}

int json_out(struct buf *b, PyObject *value)
{
	struct writing w = {.b = b, .path_at = PATH_MAX_BYTES};
	int rc = put(&w, value, 0);

	if (rc)
		name_place(&w);
	return rc;
}
