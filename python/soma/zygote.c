/* A zygote: a worker that has loaded and serves nothing. For each FORK it makes
 * a child, which goes on as a replica does that was started from its program.
 */
#include "worker.h"

#include <errno.h>
#include <unistd.h>

#include "loop/fork.h"

/* In the child: what was the zygote's goes, what is the replica's comes. */
static void become_replica(const int fds[FORK_FDS])
{
	fork_settle(fds);
	close(worker.control);
	worker.listener = fds[FORK_LISTENER];
	worker.control = fds[FORK_CONTROL];
	PyOS_AfterFork_Child();
}

/* Whether this is the replica now. */
static bool make_replica(uint32_t number, const int fds[FORK_FDS])
{
	pid_t pid;

	for (int i = 0; i < FORK_FDS; i++)
		if (fds[i] < 0) {
			fork_tell(worker.control, number, -EMFILE);
			return false;
		}
	PyOS_BeforeFork();
	pid = fork_twice();
	if (pid == 0) {
		become_replica(fds);
		return true;
	}
	PyOS_AfterFork_Parent();
	fork_tell(worker.control, number, pid);
	return false;
}

void zygote_run(const char *ready, size_t len)
{
	struct frame head;
	int fds[FORK_FDS];
	bool there;

	fork_init();
	fork_send(worker.control, FRAME_READY, 0, ready, len);
	for (;;) {
		Py_BEGIN_ALLOW_THREADS;
		there = fork_receive(worker.control, &head, fds);
		Py_END_ALLOW_THREADS;
		if (!there || head.type == FRAME_STOP)
			process_exit(0);
		if (head.type == FRAME_FORK && make_replica(head.arg, fds))
			return;
		if (head.type == FRAME_PING)
			fork_send(worker.control, FRAME_PONG, head.arg, NULL,
				  0);
		if (head.type == FRAME_QUERY)
			fork_send(worker.control, FRAME_READY, 0, ready, len);
		fork_close(fds);
	}
}
