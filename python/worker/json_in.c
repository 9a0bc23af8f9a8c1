/* json_in.c: JSON text to Python objects, strictly. */
#include "worker.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

struct reading {
	char *why;
	size_t why_size;
	unsigned depth;
};

static PyObject *value(struct reading *rd, yyjson_val *v);

static PyObject *array(struct reading *rd, yyjson_val *v)
{
	PyObject *list = PyList_New((Py_ssize_t)yyjson_arr_size(v));
	yyjson_val *item;
	size_t i, max;

	if (!list)
		return NULL;
	yyjson_arr_foreach(v, i, max, item)
	{
		PyObject *o = value(rd, item);

		if (!o || PyList_SetItem(list, (Py_ssize_t)i, o) < 0) {
			Py_DECREF(list);
			return NULL;
		}
	}
	return list;
}

static PyObject *text(yyjson_val *v)
{
	return PyUnicode_FromStringAndSize(yyjson_get_str(v),
					   (Py_ssize_t)yyjson_get_len(v));
}

static PyObject *object(struct reading *rd, yyjson_val *v)
{
	PyObject *dict = PyDict_New();
	yyjson_val *key, *item;
	size_t i, max;

	if (!dict)
		return NULL;
	yyjson_obj_foreach(v, i, max, key, item)
	{
		PyObject *k = text(key), *o = k ? value(rd, item) : NULL;
		int rc = o ? PyDict_SetItem(dict, k, o) : -1;

		Py_XDECREF(k);
		Py_XDECREF(o);
		if (rc < 0) {
			Py_DECREF(dict);
			return NULL;
		}
	}
	return dict;
}

/* A number that no machine number holds: whole ones have no limit in Python,
 * others would become infinity. */
static PyObject *raw_number(struct reading *rd, yyjson_val *v)
{
	const char *digits = yyjson_get_raw(v);
	PyObject *o;

	if (strpbrk(digits, ".eE")) {
		snprintf(rd->why, rd->why_size,
			 "number %.40s is too large for a float", digits);
		return NULL;
	}
	o = PyLong_FromString(digits, NULL, 10);
	if (!o) {
		/* Python limits how long a number's text may be. */
		PyErr_Clear();
		snprintf(rd->why, rd->why_size,
			 "number %.20s... has too many digits", digits);
	}
	return o;
}

static PyObject *value(struct reading *rd, yyjson_val *v)
{
	PyObject *o = NULL;

	switch (yyjson_get_type(v)) {
	case YYJSON_TYPE_NULL:
		Py_RETURN_NONE;
	case YYJSON_TYPE_BOOL:
		return PyBool_FromLong(yyjson_get_bool(v));
	case YYJSON_TYPE_STR:
		return text(v);
	case YYJSON_TYPE_RAW:
		return raw_number(rd, v);
	case YYJSON_TYPE_NUM:
		if (yyjson_is_real(v))
			return PyFloat_FromDouble(yyjson_get_real(v));
		if (yyjson_is_uint(v))
			return PyLong_FromUnsignedLongLong(yyjson_get_uint(v));
		return PyLong_FromLongLong(yyjson_get_sint(v));
	case YYJSON_TYPE_ARR:
	case YYJSON_TYPE_OBJ:
		if (rd->depth == JSON_DEPTH) {
			snprintf(rd->why, rd->why_size,
				 "nested deeper than %d levels", JSON_DEPTH);
			return NULL;
		}
		rd->depth++;
		o = yyjson_is_arr(v) ? array(rd, v) : object(rd, v);
		rd->depth--;
		return o;
	default:
		snprintf(rd->why, rd->why_size, "not a JSON value");
		return NULL;
	}
}

PyObject *json_in(const char *data, size_t len, char *why, size_t why_size)
{
	struct reading rd = {why, why_size, 0};
	yyjson_read_err err;
	yyjson_doc *doc;
	PyObject *o;

	why[0] = 0;
	doc = yyjson_read_opts((char *)(uintptr_t)data, len,
			       YYJSON_READ_BIGNUM_AS_RAW, NULL, &err);
	if (!doc) {
		snprintf(why, why_size, "%s at byte %zu",
			 len ? err.msg : "it is empty", err.pos);
		return NULL;
	}
	o = value(&rd, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	return o;
}
