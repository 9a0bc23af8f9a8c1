/* JSON text to Python objects: yyjson parses, strictly. */
#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "core/err.h"

enum {
	RELEASE_GIL_FROM = 64 * 1024
}; /* bytes whose parsing takes longer
    * than a change of threads */

struct reading {
	const char *text; /* raw values point into it */
	struct err *err;
};

static PyObject *make(struct reading *in, yyjson_val *v, int depth);

/* A number beyond what 64 bits or a double hold. */
static PyObject *make_big(struct reading *in, yyjson_val *v)
{
	const char *raw = yyjson_get_raw(v);
	size_t n = yyjson_get_len(v);
	size_t digits = n - (raw[0] == '-');
	PyObject *number;

	if (strcspn(raw, ".eE") < n) {
		err_set(in->err, E_INVALID,
			"number out of range: %.40s%s at byte %zu", raw,
			n > 40 ? "..." : "", (size_t)(raw - in->text));
		return NULL;
	}
	number = PyLong_FromString(raw, NULL, 10);
	if (!number && PyErr_ExceptionMatches(PyExc_ValueError)) {
		PyErr_Clear();
		err_set(in->err, E_INVALID,
			"integer of %zu digits at byte %zu is longer than this "
			"Python takes (sys.set_int_max_str_digits)",
			digits, (size_t)(raw - in->text));
	}
	return number;
}

static PyObject *make_list(struct reading *in, yyjson_val *v, int depth)
{
	PyObject *list = PyList_New((Py_ssize_t)yyjson_arr_size(v));
	yyjson_arr_iter it;
	yyjson_val *item;
	Py_ssize_t i = 0;

	if (!list)
		return NULL;
	yyjson_arr_iter_init(v, &it);
	while ((item = yyjson_arr_iter_next(&it))) {
		PyObject *o = make(in, item, depth + 1);

		if (!o) {
			Py_DECREF(list);
			return NULL;
		}
		PyList_SetItem(list, i++, o);
	}
	return list;
}

/* Names repeat from request to request: the last few are kept. Guarded by the
 * GIL; where there is none, every thread has its own. */
static PyObject *make_name(const char *p, size_t n)
{
	enum { LONGEST = 32, SETS = 512 };
	static UNLESS_GIL(__thread) struct {
		PyObject *name; /* owned */
		uint32_t len;
		char text[LONGEST];
	} seen[SETS];
	uint32_t hash = 2166136261u;
	PyObject *name;
	unsigned i;

	if (n == 0 || n > LONGEST)
		return PyUnicode_FromStringAndSize(p, (Py_ssize_t)n);
	for (size_t k = 0; k < n; k++)
		hash = (hash ^ (unsigned char)p[k]) * 16777619u;
	i = (hash ^ hash >> 16) % SETS;
	if (seen[i].name && seen[i].len == n &&
	    memcmp(seen[i].text, p, n) == 0) {
		Py_INCREF(seen[i].name);
		return seen[i].name;
	}
	name = PyUnicode_FromStringAndSize(p, (Py_ssize_t)n);
	if (name) {
		Py_XDECREF(seen[i].name);
		Py_INCREF(name);
		seen[i].name = name;
		seen[i].len = (uint32_t)n;
		memcpy(seen[i].text, p, n);
	}
	return name;
}

static PyObject *make_dict(struct reading *in, yyjson_val *v, int depth)
{
	PyObject *dict = PyDict_New();
	yyjson_obj_iter it;
	yyjson_val *key;

	if (!dict)
		return NULL;
	yyjson_obj_iter_init(v, &it);
	while ((key = yyjson_obj_iter_next(&it))) {
		PyObject *name =
			make_name(yyjson_get_str(key), yyjson_get_len(key));
		PyObject *o =
			name ? make(in, yyjson_obj_iter_get_val(key), depth + 1)
			     : NULL;
		int rc = o ? PyDict_SetItem(dict, name, o) : -1;

		Py_XDECREF(name);
		Py_XDECREF(o);
		if (rc) {
			Py_DECREF(dict);
			return NULL;
		}
	}
	return dict;
}

static PyObject *make(struct reading *in, yyjson_val *v, int depth)
{
	if (depth > JSON_DEPTH_MAX) {
		err_set(in->err, E_INVALID, "nested deeper than %d levels",
			JSON_DEPTH_MAX);
		return NULL;
	}
	switch (yyjson_get_type(v)) {
	case YYJSON_TYPE_NULL:
		Py_RETURN_NONE;
	case YYJSON_TYPE_BOOL:
		return PyBool_FromLong(yyjson_get_bool(v));
	case YYJSON_TYPE_NUM:
		if (yyjson_is_real(v))
			return PyFloat_FromDouble(yyjson_get_real(v));
		if (yyjson_is_sint(v))
			return PyLong_FromLongLong(yyjson_get_sint(v));
		return PyLong_FromUnsignedLongLong(yyjson_get_uint(v));
	case YYJSON_TYPE_RAW:
		return make_big(in, v);
	case YYJSON_TYPE_STR:
		return PyUnicode_FromStringAndSize(
			yyjson_get_str(v), (Py_ssize_t)yyjson_get_len(v));
	case YYJSON_TYPE_ARR:
		return make_list(in, v, depth);
	case YYJSON_TYPE_OBJ:
		return make_dict(in, v, depth);
	default:
		err_set(in->err, E_INTERNAL, "unknown kind of value");
		return NULL;
	}
}

static yyjson_doc *parse(struct buf *text, yyjson_read_err *why)
{
	/* In place: strings are not copied twice, and a raw value tells its
	 * offset. */
	return yyjson_read_opts(text->data, text->len,
				YYJSON_READ_INSITU | YYJSON_READ_BIGNUM_AS_RAW,
				NULL, why);
}

PyObject *json_in(struct buf *text, struct err *err)
{
	struct reading in = {.err = err};
	yyjson_read_err why = {0};
	yyjson_doc *doc;
	PyObject *value;

	err->code = 0;
	if (!text->len) {
		err_set(err, E_INVALID, "it is empty");
		return NULL;
	}
	text->max += YYJSON_PADDING_SIZE; /* no content of the client's */
	if (buf_reserve(text, YYJSON_PADDING_SIZE)) {
		err_set(err, E_TOOBIG, "it is too big");
		return NULL;
	}
	memset(text->data + text->len, 0, YYJSON_PADDING_SIZE);
	in.text = text->data;
	if (text->len >= RELEASE_GIL_FROM) {
		Py_BEGIN_ALLOW_THREADS;
		doc = parse(text, &why);
		Py_END_ALLOW_THREADS;
	} else {
		doc = parse(text, &why);
	}
	if (!doc) {
		err_set(err, E_INVALID, "%s at byte %zu", why.msg, why.pos);
		return NULL;
	}
	value = make(&in, yyjson_doc_get_root(doc), 0);
	yyjson_doc_free(doc);
	return value;
}
