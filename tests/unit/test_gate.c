/* The gate by itself: a long queue whose clients leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/arena.h"
#include "core/mem.h"
#include "serve/serve.h"

enum { MANY = 100000, WHOLE_MS = 2000 };

struct caller {
	struct http_req req;
	struct arena mem;
	char room[1024];
};

static struct caller *callers_at(struct api *a, size_t n)
{
	struct caller *callers = mem_alloc(n * sizeof *callers);

	for (size_t i = 0; i < n; i++) {
		struct http_req *req = &callers[i].req;

		arena_init_with(&callers[i].mem, callers[i].room,
				sizeof callers[i].room);
		req->arena = &callers[i].mem;
		req->path = STR("/many");
		req->start_ns = uv_hrtime();
		gate_accept(a, req, STR(""));
	}
	return callers;
}

static void leave(struct caller *c)
{
	c->req.gone = true;
	c->req.end_ns = uv_hrtime();
	c->req.on_over(&c->req);
	arena_fini(&c->mem);
}

/* Each place once, all over the queue. */
static size_t place(size_t i)
{
	return i * 7919 % MANY;
}

/* However long the queue is, one that leaves costs a few steps: searching for
 * each would be five thousand million. */
static void all_of_a_hundred_thousand_leave(void **state)
{
	char name[] = "many";
	struct spec spec = {.request_timeout_ms = 3600 * 1000};
	struct revision rev = {.spec = &spec};
	struct serve serve = {.loop = uv_default_loop()};
	struct api a = {.serve = &serve, .name = name, .want = &rev};
	struct caller *callers;
	uint64_t begun;

	(void)state;
	rev.api = &a;
	spec.scale.max_replica_concurrency = MANY;
	list_init(&rev.replicas);
	gate_init(&a.gate);
	callers = callers_at(&a, MANY);
	assert_int_equal(a.gate.queued, MANY);
	assert_int_equal(a.gate.due.n, MANY);
	begun = uv_hrtime();
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(a.gate.queued, MANY - i);
		leave(&callers[place(i)]);
	}
	assert_in_range((uv_hrtime() - begun) / 1000000, 0, WHOLE_MS);
	assert_int_equal(a.gate.counts.cancelled[STAGE_QUEUE], MANY);
	assert_int_equal(a.gate.counts.late, 0);
	assert_int_equal(a.gate.counts.overloads, 0);
	assert_int_equal(a.gate.queued, 0);
	assert_int_equal(a.gate.in_flight, 0);
	assert_int_equal(a.gate.due.n, 0);
	for (int i = 0; i < PRIORITIES; i++)
		assert_true(list_empty(&a.gate.queue[i]));
	free(callers);
	gate_fini(&a.gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_a_hundred_thousand_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
