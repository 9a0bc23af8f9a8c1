/* What is said of the number of replicas. */
#include "scale_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policys_reasons_in_words),
		cmocka_unit_test(what_people_and_bounds_decide),
		cmocka_unit_test(the_rate_is_of_ten_seconds),
		cmocka_unit_test(why_fewer_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
