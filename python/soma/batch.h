/* batch.h: what a request that waits for a batch in a slot asks of C. */
#ifndef WORKER_BATCH_H
#define WORKER_BATCH_H

#include "worker.h"

PyDoc_STRVAR(batch_wait_doc,
	     "batch_wait() -> int\n\nThis thread's request waits for a batch: "
	     "no time of predict_timeout passes.\nReturns its slot.");
PyObject *batch_wait(PyObject *module, PyObject *unused);

PyDoc_STRVAR(batch_begin_doc,
	     "batch_begin(slot) -> bool\n\nThe batch of a slot's request "
	     "begins. False: nobody waits for its answer\nany more.");
PyObject *batch_begin(PyObject *module, PyObject *args);

#endif
