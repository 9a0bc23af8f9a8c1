#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "box/pace.h"

/* A thread of a slot, and one of none. */
struct thread {
	pthread_t id;
	pid_t tid;
	int policy;
	pthread_barrier_t *begun, *over;
};

static void *run(void *data)
{
	struct thread *t = data;

	t->tid = (pid_t)syscall(SYS_gettid);
	sched_setscheduler(0, t->policy, &(struct sched_param){0});
	pthread_barrier_wait(t->begun);
	pthread_barrier_wait(t->over);
	return NULL;
}

static void only_threads_that_predict_change(void **state)
{
	pthread_barrier_t begun, over;
	struct thread slot = {.policy = SCHED_BATCH};
	struct thread other = {.policy = SCHED_OTHER};
	struct thread *both[] = {&slot, &other};

	(void)state;
	pthread_barrier_init(&begun, NULL, 3);
	pthread_barrier_init(&over, NULL, 3);
	for (int i = 0; i < 2; i++) {
		both[i]->begun = &begun;
		both[i]->over = &over;
		assert_int_equal(
			pthread_create(&both[i]->id, NULL, run, both[i]), 0);
	}
	pthread_barrier_wait(&begun);
	assert_int_equal(sched_getscheduler(slot.tid), SCHED_BATCH);

	pace_set(getpid(), true);
	assert_int_equal(sched_getscheduler(slot.tid), SCHED_OTHER);
	assert_int_equal(sched_getscheduler(other.tid), SCHED_OTHER);
	pace_set(getpid(), true); /* again does no harm */
	assert_int_equal(sched_getscheduler(slot.tid), SCHED_OTHER);

	pace_set(getpid(), false);
	assert_int_equal(sched_getscheduler(slot.tid), SCHED_BATCH);
	assert_int_equal(sched_getscheduler(other.tid), SCHED_OTHER);
	assert_int_equal(sched_getscheduler(getpid()), SCHED_OTHER);

	pthread_barrier_wait(&over);
	for (int i = 0; i < 2; i++)
		pthread_join(both[i]->id, NULL);
	pthread_barrier_destroy(&begun);
	pthread_barrier_destroy(&over);
}

static void who_is_gone_is_left(void **state)
{
	(void)state;
	pace_set(1 << 30, true);
	pace_set(0, false);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_threads_that_predict_change),
		cmocka_unit_test(who_is_gone_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
