/* Hooks: the user's code after an answer, on threads beside the slots. A slot
 * is free as soon as the answer is there; whoever waits for a database in
 * post_predict keeps no predict from running. */
#include "call.h"

#include <semaphore.h>
#include <signal.h>

/* An answered request, with what its method got and gave. */
struct post {
	struct list link; /* in `waiting` */
	struct request *request;
	struct call call;
};

/* Under the lock, but for the semaphore. */
static struct list waiting;
static sem_t calls; /* of idle threads to work */
static unsigned n_threads, n_idle;

void hooks_init(void)
{
	list_init(&waiting);
	sem_init(&calls, 0, 0);
}

bool hooks_pile_up(void)
{
	return worker.n_posts >= HOOKS_MAX * POSTS_FOR_A_HOOK;
}

/* The GIL is held, and the lock on entry and on return. */
static void run(struct post *p)
{
	worker_unlock();
	slot_set_current(p->request);
	call_after(p->request, &p->call);
	output_end_lines();
	slot_set_current(NULL);
	call_fini(&p->call);
	if (worker.forked)
		process_exit(0); /* a fork of the user's came back to us */
	worker_lock();
	request_destroy(p->request);
	free(p);
	worker.n_posts--;
	poll_rouse();
	/* One for each post that ends: all slots may have been held back. */
	if (slots_have_work())
		slot_wake();
	if (worker.state != WORKER_SERVING)
		poll_wake(worker.prod); /* it waits for this */
}

static void *thread_main(void *unused)
{
	PyGILState_Ensure();
	worker_lock();
	for (;;) {
		while (!list_empty(&waiting)) {
			struct post *p =
				LIST_ENTRY(waiting.next, struct post, link);

			list_remove(&p->link);
			run(p);
		}
		n_idle++;
		worker_unlock();
		Py_BEGIN_ALLOW_THREADS;
		while (sem_wait(&calls))
			; /* interrupted */
		Py_END_ALLOW_THREADS;
		worker_lock();
	}
	return unused;
}

/* False: the system has no thread left. */
static bool add_thread(void)
{
	pthread_attr_t detached;
	sigset_t all, before;
	pthread_t thread;
	int rc;

	sigfillset(&all); /* they are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &detached, thread_main, NULL);
	pthread_attr_destroy(&detached);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	n_threads += !rc;
	return !rc;
}

bool hooks_post(struct request *r, struct call *call)
{
	struct post *p;

	if (n_idle) {
		n_idle--;
		sem_post(&calls);
	} else if (n_threads < HOOKS_MAX && !add_thread() && !n_threads) {
		return false;
	}
	p = mem_alloc(sizeof *p);
	p->request = r;
	p->call = *call;
	*call = (struct call){.hold = NULL};
	list_push_back(&waiting, &p->link);
	worker.n_posts++;
	return true;
}
