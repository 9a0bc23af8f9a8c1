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
		 "4 requests come per second and hold a slot for 500 ms each; "
		 "with max_wait 100 ms that takes 1 of 1 slot."},
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

static const int64_t MONDAY_8 = 1772438400; /* 2026-03-02 08:00 UTC */

static void a_schedule_holds_for_its_time(void **state)
{
	static const int64_t minute = 60, hour = 3600;
	struct schedule s;

	(void)state;
	schedule_init(&s, "{\"items\":[{\"cron\":\"0 8 * * 1-5\",\"for\":"
			  "36000000,\"min_replicas\":2},{\"cron\":"
			  "\"0 12 * * *\",\"for\":3600000,\"min_replicas\":"
			  "5},{\"cron\":\"none\"}]}");
	assert_int_equal(s.n, 2);
	assert_int_equal(schedule_floor(&s, MONDAY_8 - minute), 0);
	assert_int_equal(schedule_floor(&s, MONDAY_8), 2);
	assert_int_equal(schedule_floor(&s, MONDAY_8 + 4 * hour), 5);
	assert_int_equal(schedule_floor(&s, MONDAY_8 + 5 * hour), 2);
	assert_int_equal(schedule_floor(&s, MONDAY_8 + 10 * hour - 1), 2);
	assert_int_equal(schedule_floor(&s, MONDAY_8 + 10 * hour), 0);
	/* Asked rarely, or after the clock was put back, it is the same. */
	assert_int_equal(schedule_floor(&s, MONDAY_8 + 72 * hour), 2);
	assert_int_equal(schedule_floor(&s, MONDAY_8 - minute), 0);
	assert_int_equal(schedule_floor(&s, MONDAY_8 + 9 * hour), 2);
	/* A Saturday. */
	assert_int_equal(schedule_floor(&s, MONDAY_8 + 5 * 24 * hour), 0);
	schedule_fini(&s);
	schedule_init(&s, NULL);
	assert_int_equal(schedule_floor(&s, MONDAY_8), 0);
	schedule_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policys_reasons_in_words),
		cmocka_unit_test(what_people_and_bounds_decide),
		cmocka_unit_test(samples_are_averaged_by_steps),
		cmocka_unit_test(a_schedule_holds_for_its_time),
		cmocka_unit_test(replicas_are_counted_by_their_index),
		cmocka_unit_test(what_is_asked_for_is_bounded),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
