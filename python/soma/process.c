/* The process as a whole: signals, forks of the user's code, the end. */
#include "worker.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "loop/fork.h"

static pid_t replica; /* the process itself, not what it forks */

static void on_sigterm(int number)
{
	/* A child that has not come as far as in_child yet. */
	if (getpid() != replica) {
		signal(number, SIG_DFL);
		raise(number); /* when this returns */
		return;
	}
	atomic_store(&worker.term, true);
	/* Whoever leads must see it. */
	poll_wake(worker.wake);
	poll_wake(worker.prod);
}

/* A child of the user's code is not the replica: what it holds would keep
 * clients and daemon from seeing that the replica has died, and its death by
 * SIGTERM must not drain us. fork() is never called with the lock held. */
static void before_fork(void)
{
	worker_lock();
}

static void in_parent(void)
{
	worker_unlock();
}

static void in_child(void)
{
	struct sigaction now;

	worker.forked = true;
	for (size_t i = 0; i < worker.conns_cap; i++)
		if (worker.conns[i])
			close(worker.conns[i]->fd);
	worker.conns_cap = 0;
	close(worker.listener);
	close(worker.control);
	close(worker.epoll);
	close(worker.wake);
	close(worker.prod);
	if (sigaction(SIGTERM, NULL, &now) == 0 && now.sa_handler == on_sigterm)
		signal(SIGTERM, SIG_DFL);
	worker_unlock();
}

int process_init(void)
{
	struct sigaction action = {.sa_handler = on_sigterm};

	replica = getpid();
	if (fork_follow_keeper() ||
	    pthread_atfork(before_fork, in_parent, in_child))
		return -1;
	/* Work in bulk, to the kernel: a wake-up does not push the daemon off
	 * the core they share, and so the next requests come together. The
	 * looper, which runs by now, stays as it is: it is to come in time. */
	sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
	/* Without SA_RESTART: the wait of the main thread ends, and Python
	 * looks at its own signals. */
	return sigaction(SIGTERM, &action, NULL);
}

void process_exit(int code)
{
	_exit(code);
}
