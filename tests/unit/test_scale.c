/* What is said of the number of replicas, and the means it is made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "core/json.h"
#include "core/mem.h"
#include "serve/explain.h"
#include "serve/memory.h"
#include "serve/revision_parts.h"
#include "serve/scale_parts.h"
#include "serve/serve.h"

static const uint64_t SECOND = 1000000000;

/* An api with a live revision and no replica. */
struct fixture {
	struct spec spec;
	struct revision rev;
	struct serve serve;
	struct api api;
	char name[8];
};

static void init(struct fixture *f)
{
	*f = (struct fixture){.name = "iris"};
	f->spec.scale.max_replicas = 4;
	f->spec.scale.max_wait_ms = 100;
	f->spec.scale.target_in_flight = 2;
	f->spec.scale.down_period_ms = 300000;
	f->spec.scale.up_period_ms = 60000;
	f->spec.predictor.processes = 1;
	f->rev.spec = &f->spec;
	f->rev.api = &f->api;
	f->rev.state = REVISION_LIVE;
	list_init(&f->rev.replicas);
	list_init(&f->rev.gone);
	list_init(&f->serve.changed);
	f->serve.loop = uv_default_loop();
	f->api.serve = &f->serve;
	f->api.name = f->name;
	f->api.want = f->api.live = &f->rev;
	f->api.scale.asked_ns = uv_hrtime();
	f->api.scale.view.slots = 1;
}

static void tells(const struct fixture *f, const char *why, const char *text)
{
	cleanup_free char *json = explain_json(&f->api);
	cleanup_json yyjson_doc *doc = json_parse(json, strlen(json), NULL);
	yyjson_val *root = yyjson_doc_get_root(doc), *line;
	bool found = false;
	size_t i, n;

	assert_string_equal(json_str(root, "why", ""), why);
	yyjson_arr_foreach(yyjson_obj_get(root, "text"), i, n, line) found |=
		strstr(yyjson_get_str(line), text) != NULL;
	if (!found)
		fail_msg("no '%s' in %s", text, json);
}

static void policys_reasons_in_words(void **state)
{
	static const struct {
		enum scale_why why;
		const char *word, *text;
	} cases[] = {
		{SCALE_IDLE, "idle", "No request comes"},
		{SCALE_MIN, "min", "1 is needed; min_replicas asks for more."},
		{SCALE_MAX, "max", "max_replicas is reached"},
		{SCALE_NEEDED, "needed",
		 "2 requests came within 600 ms, the time that one takes (500 "
		 "ms) and may wait (max_wait, 100 ms); a replica serves 1 at "
		 "once: that takes 1 replica."},
		{SCALE_BACKLOG, "backlog",
		 "3 requests wait, and would wait longer than max_wait (100 "
		 "ms) with fewer."},
		{SCALE_KEPT, "kept",
		 "1 is needed. One more than that is likely to be needed "
		 "again within 48.0 s (31%), which is worth its keep: to start "
		 "it then would cost 45 replica-seconds, waiting included."},
		{SCALE_ENOUGH, "enough",
		 "another would be ready in 2.0 s at the earliest"},
		{SCALE_FIRST, "first",
		 "How long a request takes is not known yet"},
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		init(&f);
		f.api.scale.wanted = 2;
		f.api.scale.advice = (struct scale_advice){
			.want = 2,
			.why = cases[i].why,
			.needed = 1,
			.rate = 4,
			.kept = 48 * SECOND,
			.expected = 0.31,
			.price = 45,
		};
		f.api.scale.view.service = SECOND / 2;
		f.api.scale.view.waiting = 3;
		f.api.scale.view.load = 2 * SECOND;
		tells(&f, cases[i].word, cases[i].text);
		tells(&f, cases[i].word,
		      "2 replicas are wanted, 0 ready, 0 starting "
		      "(min_replicas 0, max_replicas 4).");
	}
}

static void what_people_and_bounds_decide(void **state)
{
	struct fixture f;

	(void)state;
	init(&f);
	f.api.scale.asleep = true;
	tells(&f, "asleep", "'soma scale iris 0' sent it to sleep");
	init(&f);
	f.api.scale.held = 3;
	f.api.scale.held_until = uv_hrtime() + 100 * SECOND;
	tells(&f, "held",
	      "'soma scale iris 3' asked for no fewer; that holds "
	      "for another 1m 39s.");
	init(&f);
	f.api.scale.awaited_until = uv_hrtime() + 9 * SECOND;
	tells(&f, "awaited", "was told to come again");
	init(&f);
	f.api.scale.scheduled = 2;
	tells(&f, "schedule", "asks for no fewer than 2 at this time");
	init(&f);
	f.api.scale.waking = true;
	tells(&f, "waking", "A request found no replica");
	init(&f);
	f.api.scale.answering = 1;
	tells(&f, "answering",
	      "1 replica is still passing on answers that their clients have "
	      "not taken yet.");
	init(&f);
	f.spec.scale.min_replicas = 4;
	tells(&f, "fixed", "nothing is decided");
	init(&f);
	f.rev.state = REVISION_UPDATING;
	tells(&f, "rollout", "has to prove that it can start");
	tells(&f, "rollout", "1 replica is wanted");
	init(&f);
	f.api.scale.asked_ns = 0;
	tells(&f, "new", "No request has come yet.");
	init(&f);
	f.spec.scale.policy = SCALE_BY_CORTEX;
	f.api.scale.mean_in_flight = 3.25;
	tells(&f, "cortex", "lately 3.25 requests were in flight on average");
	tells(&f, "cortex", "downscale_stabilization_period (5m 0s)");
}

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

static void add(struct fixture *f, struct replica *r, unsigned index,
		unsigned number, bool ready)
{
	*r = (struct replica){.rev = &f->rev, .index = index, .number = number};
	r->state = ready ? REPLICA_READY : REPLICA_STARTING;
	r->up_open = true;
	list_push_back(&f->rev.replicas, &r->link);
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

/* One request is no rate of ten a second, wherever its window ends. */
static void the_rate_is_of_ten_seconds(void **state)
{
	struct fixture f;

	(void)state;
	init(&f);
	assert_true(scale_rate(&f.api) == 0);
	scale__came(&f.api.scale.came, uv_hrtime());
	assert_true(scale_rate(&f.api) <= 0.1);
	tells(&f, "idle", "In the last 10 s 0.1 requests came per second.");
	for (int i = 1; i < 100; i++)
		scale__came(&f.api.scale.came, uv_hrtime());
	assert_true(scale_rate(&f.api) > 9 && scale_rate(&f.api) <= 10);
}

/* "One dies" is said where one does. */
static void why_fewer_are_there(void **state)
{
	struct environment env = {.state = ENVIRONMENT_BUILDING};
	char why[] = "no weights";
	struct replica r;
	struct fixture f;

	(void)state;
	init(&f);
	f.api.scale.wanted = 2;
	f.rev.env = &env;
	tells(&f, "idle", "Its environment is being installed");
	env.state = ENVIRONMENT_READY;
	f.rev.message = why;
	add(&f, &r, 0, 0, false);
	r.unready = 1;
	tells(&f, "idle", "since one dies before it is ready: no weights.");
	r.state = REPLICA_BACKOFF;
	r.hopeless = true;
	r.again_at = uv_now(f.serve.loop) + 3000;
	tells(&f, "idle", "It cannot start: no weights.");
	tells(&f, "idle", "It is tried again in 3.0 s; requests are answered");
	assert_int_equal(revision_again_ms(&f.rev), 3000);
	r.state = REPLICA_STARTING;
	assert_int_equal(revision_again_ms(&f.rev), 0);
	assert_true(revision_cannot_start(&f.rev));
	r.hopeless = false;
	assert_false(revision_cannot_start(&f.rev));
	f.rev.blocked = true;
	assert_true(revision_cannot_start(&f.rev));
}

static void what_leaves_holds_its_memory(void **state)
{
	struct replica r[2];
	struct process p = {.pid = 1};
	struct fixture f, g;
	unsigned soon;

	(void)state;
	init(&f);
	init(&g);
	list_init(&f.api.revisions);
	list_push_back(&f.api.revisions, &f.rev.link);
	map_init(&f.serve.apis);
	map_set(&f.serve.apis, "iris", &f.api);
	f.spec.compute.mem_bytes = (int64_t)(memory_total() / 2);
	add(&f, &r[0], 0, 0, true);
	assert_int_equal(memory_fits(&f.rev, &soon), 1);
	add(&f, &r[1], 1, 0, true);
	list_remove(&r[1].link);
	list_push_back(&f.rev.gone, &r[1].link);
	assert_int_equal(memory_fits(&f.rev, &soon), 1);
	r[1].process = &p;
	assert_int_equal(memory_fits(&f.rev, &soon), 0);
	assert_int_equal(soon, 1);
	/* A new revision takes the room of one that is wanted, not of one that
	 * leaves; what the older one was measured to take says nothing of it.
	 */
	g.rev.api = &f.api;
	g.spec.compute.mem_bytes = f.spec.compute.mem_bytes;
	assert_int_equal(memory_fits(&g.rev, &soon), 1);
	assert_int_equal(soon, 2);
	g.spec.compute.mem_bytes = 0;
	f.rev.measure.bytes = 1 << 20;
	assert_int_equal(memory_fits(&g.rev, &soon), UINT32_MAX);
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
	r.hold_ns = SECOND;
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
	float gaps[AUTOSCALE_BINS] = {[7] = 1.5F, [59] = 0.25F}, back[60];
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
	f.rev.at_once = 8;
	autoscale_recall(&f.api.scale.policy, 1, gaps);
	json = scale_kept_json(&f.api);
	scale_recall(&g.api, json);
	assert_true(g.api.scale.asleep);
	assert_int_equal(g.api.scale.held, 3);
	assert_in_range(g.api.scale.held_until, uv_hrtime() + 99 * SECOND,
			uv_hrtime() + 101 * SECOND);
	assert_int_equal(g.api.scale.loads[COLD_PROCESS].mean_ns, SECOND / 3);
	assert_int_equal(g.api.scale.loads[COLD_DISK].mean_ns, 0);
	assert_int_equal(g.api.scale.service_ns, 12345);
	assert_false(autoscale_gaps(&g.api.scale.policy, 0, back));
	assert_true(autoscale_gaps(&g.api.scale.policy, 1, back));
	assert_memory_equal(gaps, back, sizeof gaps);
	assert_int_equal(g.rev.measure.bytes, 1 << 20);
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
		"{\"load_ns\":{\"process\":-5},\"gaps\":[[99,1,3],7,[1,-1]]}",
		"{\"held\":2,\"held_until_ms\":1}",
		"{\"gaps\":{},\"revision\":[],\"service_ns\":1.5}",
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policys_reasons_in_words),
		cmocka_unit_test(what_people_and_bounds_decide),
		cmocka_unit_test(samples_are_averaged_by_steps),
		cmocka_unit_test(replicas_are_counted_by_their_index),
		cmocka_unit_test(what_is_asked_for_is_bounded),
		cmocka_unit_test(the_rate_is_of_ten_seconds),
		cmocka_unit_test(why_fewer_are_there),
		cmocka_unit_test(what_leaves_holds_its_memory),
		cmocka_unit_test(batches_are_served_at_once),
		cmocka_unit_test(commands_without_a_limit_are_measured),
		cmocka_unit_test(who_takes_long_to_take_an_answer),
		cmocka_unit_test(what_is_kept_comes_back),
		cmocka_unit_test(what_makes_no_sense_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
