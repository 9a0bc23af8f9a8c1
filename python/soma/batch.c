/* Requests that wait for a batch in slots of theirs: batches.py. */
#include "batch.h"

PyObject *batch_wait(PyObject *module, PyObject *unused)
{
	const struct request *r = slot_current();
	unsigned i = 0;

	(void)module, (void)unused;
	worker_lock();
	while (i < worker.n_slots && worker.slots[i].request != r)
		i++;
	if (r && i < worker.n_slots)
		worker.slots[i].paused = true;
	worker_unlock();
	if (!r || i == worker.n_slots)
		return PyErr_Format(PyExc_RuntimeError,
				    "this thread handles no request");
	return PyLong_FromUnsignedLong(i);
}

PyObject *batch_begin(PyObject *module, PyObject *args)
{
	unsigned index;
	struct slot *s;
	bool wanted;

	(void)module;
	if (!PyArg_ParseTuple(args, "I", &index))
		return NULL;
	if (index >= worker.n_slots)
		return PyErr_Format(PyExc_ValueError, "no slot %u", index);
	s = &worker.slots[index];
	worker_lock();
	s->paused = false;
	s->since_ms = now_ms();
	wanted = s->request && s->request->conn;
	worker_unlock();
	return PyBool_FromLong(wanted);
}
