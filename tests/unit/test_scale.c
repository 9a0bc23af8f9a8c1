/* What decides how many replicas there are, and what outlives the daemon of it.
 */
#include "scale_fixture.h"

#include "serve/memory.h"
#include "serve/revision_parts.h"

/* Ten samples are a step; the mean is of as many steps as there are, at most as
 * the window has. */
static void samples_are_averaged_by_steps(void **state)
{
	struct scale_mean m = {0};
	double mean = -1;

	(void)state;
	for (int i = 0; i < 9; i++)
		assert_false(scale_mean_add(&m, 2, 3, &mean));
	assert_true(scale_mean_add(&m, 12, 3, &mean));
	assert_true(mean == 3);
	for (int step = 1; step <= 3; step++)
		for (int i = 0; i < 10; i++)
			scale_mean_add(&m, 6, 3, &mean);
	assert_true(mean == 6); /* the first has left the window */
	for (int i = 0; i < 10; i++)
		scale_mean_add(&m, 1, 1, &mean);
	assert_true(mean == 1); /* another window */
	scale_mean_fini(&m);
}

/* A replica is ready when all of its processes are; requests go to any. */
static void replicas_are_counted_by_their_index(void **state)
{
	struct replica r[4];
	struct fixture f;

	(void)state;
	init(&f);
	f.spec.predictor.processes = 2;
	assert_int_equal(revision_places(&f.rev), 0);
	assert_false(revision_any_ready(&f.rev));
	add(&f, &r[0], 0, 0, false);
	add(&f, &r[1], 0, 1, false);
	assert_int_equal(revision_places(&f.rev), 1);
	assert_false(revision_any_ready(&f.rev));
	add(&f, &r[2], 2, 0, true);
	assert_true(revision_any_ready(&f.rev));
	assert_int_equal(revision_ready(&f.rev), 0);
	add(&f, &r[3], 2, 1, true);
	assert_int_equal(revision_places(&f.rev), 2);
	assert_int_equal(revision_ready(&f.rev), 1);
	tells(&f, "idle", "0 replicas are wanted, 1 ready, 1 starting");
}

static void what_is_asked_for_is_bounded(void **state)
{
	struct fixture f;

	(void)state;
	init(&f);
	assert_int_equal(revision_requested(&f.rev), 0);
	f.api.scale.wanted = 3;
	assert_int_equal(revision_requested(&f.rev), 3);
	f.spec.scale.max_replicas = 2;
	assert_int_equal(revision_requested(&f.rev), 2);
	f.api.scale.wanted = 0;
	f.spec.scale.min_replicas = 2;
	assert_int_equal(revision_requested(&f.rev), 2);
	f.api.scale.asleep = true;
	assert_int_equal(revision_requested(&f.rev), 0);
	f.rev.state = REVISION_UPDATING;
	assert_int_equal(revision_requested(&f.rev), 1);
	f.rev.leaving = true;
	assert_int_equal(revision_requested(&f.rev), 0);
}

static void what_leaves_holds_its_memory(void **state)
{
	struct replica r[2];
	struct process p = {.pid = 1};
	struct fixture f, g;

	(void)state;
	init(&f);
	init(&g);
	list_init(&f.api.revisions);
	list_push_back(&f.api.revisions, &f.rev.link);
	map_init(&f.serve.apis);
	map_set(&f.serve.apis, "iris", &f.api);
	f.serve.memory_limit = 64 << 20;
	assert_int_equal(memory_total(&f.serve), 64 << 20);
	f.spec.compute.mem_bytes = 32 << 20;
	add(&f, &r[0], 0, 0, true);
	assert_int_equal(memory_room(&f.rev).now, 1);
	add(&f, &r[1], 1, 0, true);
	list_remove(&r[1].link);
	list_push_back(&f.rev.gone, &r[1].link);
	assert_int_equal(memory_room(&f.rev).now, 1);
	r[1].process = &p;
	assert_int_equal(memory_room(&f.rev).now, 0);
	assert_int_equal(memory_room(&f.rev).soon, 1);
	/* A new revision has the room that is left beside the older one, and
	 * could have that one's; what it takes is said, or not known. */
	g.rev.api = &f.api;
	g.spec.compute.mem_bytes = f.spec.compute.mem_bytes;
	assert_int_equal(memory_room(&g.rev).now, 0);
	assert_int_equal(memory_room(&g.rev).soon, 1);
	assert_int_equal(memory_room(&g.rev).instead, 2);
	g.spec.compute.mem_bytes = 0;
	assert_int_equal(memory_room(&g.rev).now, UINT32_MAX);
	/* ... or guessed by the one before. */
	f.rev.measure.own = 16 << 20;
	f.rev.number = 3;
	measure_guess(&g.rev, &f.rev);
	assert_int_equal(memory_need(&g.rev).own, 16 << 20);
	assert_int_equal(memory_room(&g.rev).instead, 4);
	map_fini(&f.serve.apis);
}

/* A batch is served at once; what is behind it waits. */
static void batches_are_served_at_once(void **state)
{
	struct scale_view v;
	struct replica r;
	struct fixture f;

	(void)state;
	init(&f);
	f.spec.predictor.max_batch_size = 8;
	f.spec.predictor.threads = 8;
	assert_int_equal(scale__look(&f.api, &f.rev).slots, 8);
	add(&f, &r, 0, 0, true);
	r.slots = 1;
	r.room = 16;
	r.placed = r.in_flight = 10;
	replica_held(&r, SECOND, 8);
	v = scale__look(&f.api, &f.rev);
	assert_int_equal(v.slots, 8);
	assert_int_equal(v.in_flight, 10);
	assert_int_equal(v.waiting, 2);
	assert_true(v.service == SECOND);
	/* It learns how large they are. */
	f.spec.predictor.latency_target_ms = 100;
	r.batching.size = 3;
	assert_int_equal(scale__look(&f.api, &f.rev).slots, 3);
}

/* Replicas may live for one request: what those before had counts, too. */
static void service_is_a_mean_of_all_that_were_there(void **state)
{
	struct replica first, second;
	struct fixture f;

	(void)state;
	init(&f);
	assert_true(scale__look(&f.api, &f.rev).service == 0);
	add(&f, &first, 0, 0, true);
	for (int i = 0; i < 3; i++)
		replica_held(&first, 4 * SECOND, 1);
	assert_true(scale__look(&f.api, &f.rev).service == 4 * SECOND);
	list_remove(&first.link);
	add(&f, &second, 0, 0, true);
	assert_true(scale__look(&f.api, &f.rev).service == 4 * SECOND);
	replica_held(&second, SECOND / 1000, 1);
	assert_in_range(scale__look(&f.api, &f.rev).service, 2 * SECOND,
			4 * SECOND);
	/* The older ones are forgotten in time. */
	for (int i = 0; i < 1000; i++)
		replica_held(&second, SECOND / 1000, 1);
	assert_in_range(scale__look(&f.api, &f.rev).service, SECOND / 2000,
			SECOND / 500);
}

/* Of a command without a limit it is learned how many it serves, and for how
 * long it has them. */
static void commands_without_a_limit_are_measured(void **state)
{
	struct scale_view v;
	struct replica r;
	struct fixture f;

	(void)state;
	init(&f);
	f.spec.predictor.type = PREDICTOR_COMMAND;
	assert_int_equal(scale__look(&f.api, &f.rev).slots, 1);
	add(&f, &r, 0, 0, true);
	r.placed = r.in_flight = 20;
	for (uint32_t i = 0; i < 100; i++)
		replica_held(&r, SECOND / 20, i % 20 + 1);
	v = scale__look(&f.api, &f.rev);
	assert_int_equal(v.in_flight, 20);
	assert_int_equal(v.waiting, 0);
	assert_in_range(v.service, SECOND / 21, SECOND / 19);
	assert_in_range(v.slots, 16, 40);
	/* One of them at a time. */
	r.together = 0;
	for (uint32_t i = 0; i < 100; i++)
		replica_held(&r, SECOND / 20 * (i % 20 + 1), i % 20 + 1);
	assert_in_range(scale__look(&f.api, &f.rev).slots, 1, 2);
}

/* A download holds no place, and keeps its replica. */
static void who_takes_long_to_take_an_answer(void **state)
{
	struct replica r[3];
	struct fixture f;

	(void)state;
	init(&f);
	for (unsigned i = 0; i < ARRAY_LEN(r); i++)
		add(&f, &r[i], i, 0, true);
	assert_int_equal(revision_answering(&f.rev), 0);
	assert_int_equal(revision__least_missed(&f.rev), 2);
	r[2].in_flight = 1;
	assert_int_equal(revision_answering(&f.rev), 1);
	assert_int_equal(scale__passing(&f.rev), 1);
	assert_int_equal(scale__look(&f.api, &f.rev).in_flight, 0);
	r[0].in_flight = r[0].placed = 5;
	r[1].in_flight = r[1].placed = 4;
	assert_int_equal(revision_answering(&f.rev), 1);
	assert_int_equal(revision__least_missed(&f.rev), 1);
	r[0].state = REPLICA_STARTING;
	assert_int_equal(revision__least_missed(&f.rev), 0);
}

static void what_is_kept_comes_back(void **state)
{
	const struct gaps gaps = {.came = {[7] = 1.5F, [59] = 0.25F},
				  .ended = {[59] = 0.25F}};
	const struct gaps *back;
	cleanup_free char *json = NULL, *again = NULL;
	struct fixture f, g;

	(void)state;
	init(&f);
	init(&g);
	f.api.scale.asleep = true;
	f.api.scale.held = 3;
	f.api.scale.held_until = uv_hrtime() + 100 * SECOND;
	f.api.scale.loads[COLD_PROCESS].mean_ns = SECOND / 3;
	f.api.scale.service_ns = 12345;
	f.rev.number = g.rev.number = 4;
	f.rev.measure.bytes = 1 << 20;
	f.rev.measure.own = 3 << 19;
	f.rev.measure.shared = 1 << 18;
	f.rev.measure.ran_out = 1 << 21;
	f.rev.measure.looks = 3;
	f.rev.at_once = 8;
	autoscale_recall(&f.api.scale.policy, 1, &gaps);
	f.api.scale.policy.levels[1].gaps.came[0] = 2;
	json = scale_kept_json(&f.api);
	scale_recall(&g.api, json);
	assert_true(g.api.scale.asleep);
	assert_int_equal(g.api.scale.held, 3);
	assert_in_range(g.api.scale.held_until, uv_hrtime() + 99 * SECOND,
			uv_hrtime() + 101 * SECOND);
	assert_int_equal(g.api.scale.loads[COLD_PROCESS].mean_ns, SECOND / 3);
	assert_int_equal(g.api.scale.loads[COLD_DISK].mean_ns, 0);
	assert_int_equal(g.api.scale.service_ns, 12345);
	assert_null(autoscale_gaps(&g.api.scale.policy, 0));
	back = autoscale_gaps(&g.api.scale.policy, 1);
	assert_memory_equal(back, autoscale_gaps(&f.api.scale.policy, 1),
			    sizeof gaps);
	assert_int_equal(g.rev.measure.bytes, 1 << 20);
	assert_int_equal(g.rev.measure.own, 3 << 19);
	assert_int_equal(g.rev.measure.shared, 1 << 18);
	assert_int_equal(g.rev.measure.ran_out, 1 << 21);
	assert_int_equal(g.rev.measure.looks, 3);
	assert_int_equal(g.rev.at_once, 8);
	again = scale_kept_json(&g.api);
	assert_int_equal(strlen(json), strlen(again));
	/* Another revision takes what it takes. */
	g.rev.number = 5;
	g.rev.measure.bytes = 0;
	scale_recall(&g.api, json);
	assert_int_equal(g.rev.measure.bytes, 0);
	scale_fini(&f.api);
	scale_fini(&g.api);
}

/* What the disk has may be anything. */
static void what_makes_no_sense_is_left_out(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{\"asleep\":3,\"held\":-1,\"held_until_ms\":\"x\"}",
		"{\"load_ns\":{\"process\":-5}}",
		"{\"levels\":[[99,1,3],7,[1,-1,2]]}",
		"{\"held\":2,\"held_until_ms\":1}",
		"{\"levels\":{},\"revision\":[],\"service_ns\":1.5}",
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		init(&f);
		scale_recall(&f.api, texts[i]);
		assert_false(f.api.scale.asleep);
		assert_int_equal(f.api.scale.held_until, 0);
		assert_int_equal(f.api.scale.loads[COLD_PROCESS].mean_ns, 0);
		scale_fini(&f.api);
	}
	/* A clock that was put back does not hold for ever. */
	init(&f);
	scale_recall(&f.api, "{\"held\":2,\"held_until_ms\":99999999999999}");
	assert_int_equal(f.api.scale.held, 2);
	assert_in_range(f.api.scale.held_until, 0, uv_hrtime() + 301 * SECOND);
	scale_fini(&f.api);
}

static void on_enough(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void on_closed(uv_handle_t *handle)
{
	(void)handle;
}

/* Lets 300 ms pass for the questions that are to be asked. */
static void pass_time(struct fixture *f)
{
	uv_timer_t enough;

	uv_update_time(f->serve.loop);
	uv_timer_init(f->serve.loop, &enough);
	uv_timer_start(&enough, on_enough, 300, 0);
	uv_run(f->serve.loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&enough, on_closed);
	uv_run(f->serve.loop, UV_RUN_NOWAIT);
}

/* A rollout that failed has nothing to decide until it is live. */
static void a_failed_rollout_is_not_asked_again(void **state)
{
	struct fixture f;

	(void)state;
	init(&f);
	scale_clock_open(&f.serve);
	f.serve.loaded = true;
	f.rev.state = REVISION_FAILED;
	f.api.live = NULL;
	scale_on_request(&f.api, &f.rev, uv_hrtime());
	assert_non_null(heap_first(&f.serve.asks));
	f.api.scale.asked_ns = 0;
	pass_time(&f);
	assert_null(heap_first(&f.serve.asks));
	assert_int_equal(f.api.scale.asked_ns, 0);
	scale_fini(&f.api);
	scale_clock_close(&f.serve);
	uv_run(f.serve.loop, UV_RUN_NOWAIT);
}

/* However long the schedule sleeps. */
static void cortex_samples_within_a_second(void **state)
{
	struct fixture f;
	uint64_t now;

	(void)state;
	init(&f);
	scale_clock_open(&f.serve);
	f.serve.loaded = true;
	f.spec.scale.policy = SCALE_BY_CORTEX;
	now = uv_now(f.serve.loop);
	heap_put(&f.serve.asks, &f.api.scale.ask, now + 60000);
	scale_on_request(&f.api, &f.rev, uv_hrtime());
	assert_in_range(heap_first(&f.serve.asks)->key, now, now + 1000);
	/* One that comes sooner stays. */
	heap_put(&f.serve.asks, &f.api.scale.ask, now + 10);
	scale_on_request(&f.api, &f.rev, uv_hrtime());
	assert_int_equal(heap_first(&f.serve.asks)->key, now + 10);
	scale_fini(&f.api);
	scale_clock_close(&f.serve);
	uv_run(f.serve.loop, UV_RUN_NOWAIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_are_averaged_by_steps),
		cmocka_unit_test(replicas_are_counted_by_their_index),
		cmocka_unit_test(what_is_asked_for_is_bounded),
		cmocka_unit_test(what_leaves_holds_its_memory),
		cmocka_unit_test(batches_are_served_at_once),
		cmocka_unit_test(service_is_a_mean_of_all_that_were_there),
		cmocka_unit_test(commands_without_a_limit_are_measured),
		cmocka_unit_test(who_takes_long_to_take_an_answer),
		cmocka_unit_test(what_is_kept_comes_back),
		cmocka_unit_test(what_makes_no_sense_is_left_out),
		cmocka_unit_test(a_failed_rollout_is_not_asked_again),
		cmocka_unit_test(cortex_samples_within_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
