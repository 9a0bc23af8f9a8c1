#include "sim/each.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "core/mem.h"

enum { THREADS_MAX = 64 };

struct work {
	size_t n;
	void (*one)(void *data, size_t i);
	void *data;
	atomic_size_t next;
};

static void *run(void *arg)
{
	struct work *w = arg;
	size_t i;

	while ((i = atomic_fetch_add(&w->next, 1)) < w->n)
		w->one(w->data, i);
	return NULL;
}

void sim__each(size_t n, void (*one)(void *data, size_t i), void *data)
{
	struct work w = {.n = n, .one = one, .data = data};
	pthread_t threads[THREADS_MAX];
	long most = MIN(MAX(sysconf(_SC_NPROCESSORS_ONLN), 1), THREADS_MAX);
	long started = 0;

	while (started < most - 1 &&
	       !pthread_create(&threads[started], NULL, run, &w))
		started++;
	run(&w);
	while (started)
		pthread_join(threads[--started], NULL);
}
