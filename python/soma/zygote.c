/* A zygote: a worker that has loaded and serves nothing. For each FORK it makes
 * a child, which goes on as a replica does that was started from its program.
 */
#include "worker.h"

#include <errno.h>
#include <unistd.h>

#include "loop/fork.h"

/* Python has a copy of the environment, which is what subprocesses get. */
static void tell_mark(const char *mark)
{
	PyObject *os = PyImport_ImportModule("os");
	PyObject *all = os ? PyObject_GetAttrString(os, "environ") : NULL;
	PyObject *value = PyUnicode_DecodeFSDefault(mark);

	if (all && value)
		PyMapping_SetItemString(all, FORK_MARK, value);
	PyErr_Clear(); /* of code that has put something else there */
	Py_XDECREF(value);
	Py_XDECREF(all);
	Py_XDECREF(os);
}

/* In the child: what was the zygote's goes, what is the replica's comes. */
static void become_replica(const struct fork_order *o)
{
	fork_settle(o);
	close(worker.control);
	worker.listener = o->fds[FORK_LISTENER];
	worker.control = o->fds[FORK_CONTROL];
	PyOS_AfterFork_Child();
	if (o->mark[0])
		tell_mark(o->mark);
}

/* Whether this is the replica now. */
static bool make_replica(const struct fork_order *o)
{
	pid_t pid;

	if (!fork_is_complete(o)) {
		fork_tell(worker.control, o->head.arg, -EMFILE);
		return false;
	}
	PyOS_BeforeFork();
	pid = fork_twice();
	if (pid == 0) {
		become_replica(o);
		return true;
	}
	PyOS_AfterFork_Parent();
	fork_tell(worker.control, o->head.arg, pid);
	return false;
}

void zygote_run(const char *ready, size_t len)
{
	struct fork_order o;
	bool there;

	fork_init();
	fork_send(worker.control, FRAME_READY, 0, ready, len);
	for (;;) {
		Py_BEGIN_ALLOW_THREADS;
		there = fork_receive(worker.control, &o);
		Py_END_ALLOW_THREADS;
		if (!there || o.head.type == FRAME_STOP)
			process_exit(0);
		if (o.head.type == FRAME_FORK && make_replica(&o))
			return;
		if (o.head.type == FRAME_PING)
			fork_send(worker.control, FRAME_PONG, o.head.arg, NULL,
				  0);
		if (o.head.type == FRAME_QUERY)
			fork_send(worker.control, FRAME_READY, 0, ready, len);
		fork_close(&o);
	}
}
