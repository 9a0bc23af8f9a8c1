/* rows.h: what module.c exports of rows.c. */
#ifndef ROWS_H
#define ROWS_H

#include "worker.h"

extern const char weights_doc[];

/* weights(fd, name): METH_VARARGS. */
PyObject *weights_rows(PyObject *module, PyObject *args);

#endif
