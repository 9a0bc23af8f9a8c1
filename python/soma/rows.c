/* Which tensors a file of weights has, as rows for Python. */
#include "rows.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "weights/weights.h"

const char weights_doc[] =
	"weights(fd, name) -> list\n\n"
	"Tensors of the file, each (name, dtype, shape, stride or None, "
	"offset, bytes); the\nstride is in elements, None if row-major. "
	"ValueError(\"NAME: what is wrong\").";

/* The file's bytes; an empty file has none. 0, or -1 with an exception. */
static int map_file(int fd, const void **ret, size_t *ret_size)
{
	struct stat st;
	void *at;

	if (fstat(fd, &st) < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	*ret = "";
	*ret_size = (size_t)st.st_size;
	if (!st.st_size)
		return 0;
	at = mmap(NULL, *ret_size, PROT_READ, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	*ret = at;
	return 0;
}

static PyObject *numbers(const uint64_t *v, uint32_t n)
{
	PyObject *tuple = PyTuple_New((Py_ssize_t)n);

	for (uint32_t i = 0; tuple && i < n; i++) {
		PyObject *one = PyLong_FromUnsignedLongLong(v[i]);

		if (one && PyTuple_SetItem(tuple, (Py_ssize_t)i, one) == 0)
			continue;
		Py_DECREF(tuple);
		return NULL;
	}
	return tuple;
}

static PyObject *row(const struct weights_tensor *t)
{
	PyObject *shape = numbers(t->shape, t->n_dims), *stride, *made;

	if (!shape)
		return NULL;
	if (t->stride) {
		stride = numbers(t->stride, t->n_dims);
	} else {
		stride = Py_None;
		Py_INCREF(stride);
	}
	if (!stride) {
		Py_DECREF(shape);
		return NULL;
	}
	/* N takes both over, also when it fails. */
	made = Py_BuildValue("(ssNNKK)", t->name, weights_dtype_name(t->dtype),
			     shape, stride, (unsigned long long)t->offset,
			     (unsigned long long)t->bytes);
	return made;
}

static PyObject *rows_of(const struct weights *w)
{
	PyObject *list = PyList_New(0);

	for (size_t i = 0; list && i < w->n; i++) {
		PyObject *one = row(&w->tensors[i]);

		if (one && PyList_Append(list, one) == 0) {
			Py_DECREF(one);
			continue;
		}
		Py_XDECREF(one);
		Py_DECREF(list);
		return NULL;
	}
	return list;
}

PyObject *weights_rows(PyObject *module, PyObject *args)
{
	struct err err = {0};
	struct weights w;
	const char *name;
	const void *data;
	PyObject *list;
	size_t size;
	int fd, rc;

	(void)module;
	if (!PyArg_ParseTuple(args, "is", &fd, &name) ||
	    map_file(fd, &data, &size))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	rc = weights_parse(&w, data, size, &err);
	if (size)
		munmap((void *)(uintptr_t)data, size);
	Py_END_ALLOW_THREADS;
	if (rc) {
		PyErr_Format(PyExc_ValueError, "%s: %s", name, err.msg);
		return NULL;
	}
	list = rows_of(&w);
	weights_fini(&w);
	return list;
}
