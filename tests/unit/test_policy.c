#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/mem.h"
#include "policy/backoff.h"
#include "policy/balance.h"
#include "policy/share.h"

static void backoff_doubles_to_a_minute(void **state)
{
	(void)state;
	/* random 200 is the middle: no jitter */
	assert_int_equal(backoff_wait_ms(1, 200), 100);
	assert_int_equal(backoff_wait_ms(2, 200), 200);
	assert_int_equal(backoff_wait_ms(5, 200), 1600);
	assert_int_equal(backoff_wait_ms(10, 200), 51200);
	assert_int_equal(backoff_wait_ms(11, 200), 60000);
	assert_int_equal(backoff_wait_ms(4000000000u, 200), 60000);
	for (uint32_t r = 0; r < 1000; r++) {
		assert_in_range(backoff_wait_ms(1, r), 80, 120);
		assert_in_range(backoff_wait_ms(100, r), 48000, 72000);
	}
}

static void health_forgets_failures(void **state)
{
	(void)state;
	assert_int_equal(backoff_count(0, 0, 50), 1);
	assert_int_equal(backoff_count(5, 0, 50), 6);
	assert_int_equal(backoff_count(5, BACKOFF_RESET_MS, 50), 1);
	/* longer than the wait (1.6 s): forgotten */
	assert_int_equal(backoff_count(5, 1599, 50), 6);
	assert_int_equal(backoff_count(5, 1600, 50), 1);
	/* a model that loads for a minute has to live for one */
	assert_int_equal(backoff_count(1, 59000, 60000), 2);
	assert_int_equal(backoff_count(1, 60000, 60000), 1);
}

static void kills_from_outside_never_add_up(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		failures = backoff_count(failures, i % 10 ? 500 : 0, 300);
	assert_in_range(failures, 1, 2);
	/* What dies at once waits for a minute in the end. */
	for (int i = 0; i < 20; i++)
		failures = backoff_count(failures, 0, 300);
	assert_int_equal(backoff_wait_ms(failures, 200), BACKOFF_MOST_MS);
}

static void least_loaded_with_room_is_picked(void **state)
{
	struct balance_item r[] = {
		{true, 2, 3},
		{true, 1, 3},
		{false, 0, 3},
		{true, 1, 1},
	};

	(void)state;
	assert_int_equal(balance_pick(r, 4, 0, -1), 1);
	assert_int_equal(balance_pick(r, 4, 0, 1), 0);
	r[1].in_flight = 3;
	assert_int_equal(balance_pick(r, 4, 0, -1), 0);
	r[0].in_flight = 3;
	assert_int_equal(balance_pick(r, 4, 0, -1), -1);
	assert_int_equal(balance_pick(r, 0, 0, -1), -1);
}

static void equals_take_turns(void **state)
{
	struct balance_item r[] = {{true, 0, 0}, {true, 0, 0}, {true, 0, 0}};
	size_t last = 0;
	int seen[3] = {0};

	(void)state;
	for (int i = 0; i < 9; i++) {
		last = (size_t)balance_pick(r, 3, last, -1);
		seen[last]++;
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(seen[i], 3);
}

static void a_failed_replica_is_the_last_choice(void **state)
{
	struct balance_item r[] = {{true, 0, 1}, {true, 1, 1}};

	(void)state;
	assert_int_equal(balance_pick(r, 2, 1, 0), 0);
	r[1].in_flight = 0;
	assert_int_equal(balance_pick(r, 2, 1, 0), 1);
}

static void service_is_learned(void **state)
{
	uint64_t ns;

	(void)state;
	assert_int_equal(balance_service(0, 5000, 1, 1), 5000);
	/* One slot, ten there: each took a tenth. Four slots: four at once. */
	assert_int_equal(balance_service(0, 50000, 10, 1), 5000);
	assert_int_equal(balance_service(0, 50000, 10, 4), 20000);
	/* Fewer there than slots: each had its own. */
	assert_int_equal(balance_service(0, 5000, 2, 4), 5000);
	assert_int_equal(balance_service(0, 5000, 0, 4), 5000);
	/* It follows both ways. */
	ns = 5000;
	for (int i = 0; i < 100; i++)
		ns = balance_service(ns, 80000, 1, 1);
	assert_in_range(ns, 75000, 80000);
	for (int i = 0; i < 100; i++)
		ns = balance_service(ns, 5000, 1, 1);
	assert_in_range(ns, 5000, 5500);
}

/* So many clients, each of which asks again at once; the server works on
 * `slots` of them at a time. */
static double learned_of(uint32_t clients, uint32_t slots)
{
	uint64_t took = 10000 * MAX(clients, slots) / slots, alone = 0;
	double n = 0;

	alone = balance_alone(alone, 10000, 1);
	for (int i = 0; i < 2000; i++) {
		alone = balance_alone(alone, took, clients);
		n = balance_at_once(n, alone, took, clients);
	}
	return n;
}

static void what_has_no_limit_is_seen_to_have_one(void **state)
{
	uint64_t alone;

	(void)state;
	/* One at a time, or in part, however many are there; as many as there
	 * are, where that costs nobody anything. */
	assert_true(learned_of(8, 1) == 1);
	assert_true(learned_of(20, 4) == 4);
	/* What costs nobody anything may be done twice as often, too. */
	assert_true(learned_of(8, 8) > 15.99);
	assert_true(learned_of(8, 100) > 15.99);
	assert_true(learned_of(1, 1) == 2);
	/* Never none, and nothing to divide by. */
	assert_true(balance_at_once(0, 0, 0, 0) == 1);
	/* What was shorter once is forgotten when others alone tell. */
	alone = balance_alone(0, 1000, 1);
	assert_int_equal(alone, 1000);
	assert_int_equal(balance_alone(alone, 20000, 2), 1000);
	for (int i = 0; i < 1000; i++)
		alone = balance_alone(alone, 20000, 1);
	assert_in_range(alone, 19980, 20000);
}

static uint32_t room(uint32_t slots, uint64_t service_ns, uint32_t batch)
{
	return balance_room(&(struct balance_process){.slots = slots,
						      .service_ns = service_ns,
						      .batch = batch,
						      .alone = true});
}

static void room_is_a_millisecond_of_work(void **state)
{
	(void)state;
	assert_int_equal(room(1, 0, 0), 3);
	assert_int_equal(room(4, 0, 0), 8);
	/* 20 ms a request: what lies inside could go to another replica. */
	assert_int_equal(room(1, 20000000, 0), 3);
	assert_int_equal(room(4, 20000000, 0), 8);
	assert_int_equal(room(1, 100000, 0), 11);
	assert_int_equal(room(4, 100000, 0), 44);
	assert_int_equal(room(1, 1, 0), 33);
	assert_int_equal(room(1, UINT64_MAX, 0), 3);
	/* One full batch for each slot, and the next. */
	assert_int_equal(room(1, 20000000, 32), 64);
	assert_int_equal(room(4, 20000000, 2), 10);
	assert_int_equal(room(1, 1, 2), 33);
}

/* Nobody lies behind a request that takes long while another replica may come
 * for him. */
static void room_is_the_slots_where_others_may_come(void **state)
{
	struct balance_process p = {.slots = 2};

	(void)state;
	assert_int_equal(balance_room(&p), 2); /* it is not known yet */
	p.service_ns = 10000000;
	assert_int_equal(balance_room(&p), 2);
	p.service_ns = 9999999;
	assert_int_equal(balance_room(&p), 4);
	p.service_ns = 20000000;
	p.pre_ns = p.predict_ns = 20000000; /* pre_predict is inside */
	assert_int_equal(balance_room(&p), 4 + 2);
	p.pre_ns = 0;
	p.batch = 8;
	assert_int_equal(balance_room(&p), 24);
}

static uint32_t room_with_pre(uint32_t slots, uint32_t batch, uint64_t pre_ms,
			      uint64_t predict_ms)
{
	return balance_room(
		&(struct balance_process){.slots = slots,
					  .batch = batch,
					  .service_ns = 20000000,
					  .pre_ns = pre_ms * 1000000,
					  .predict_ns = predict_ms * 1000000,
					  .alone = true});
}

/* While pre_predict waits 50 ms, a slot of 20 ms takes two and a half. */
static void room_has_what_is_in_pre(void **state)
{
	(void)state;
	assert_int_equal(room_with_pre(1, 0, 50, 20), 3 + 3);
	assert_int_equal(room_with_pre(4, 0, 50, 20), 8 + 10);
	assert_int_equal(room_with_pre(1, 16, 50, 20), 32 + 40);
	/* one of them is not known, or there is none */
	assert_int_equal(room_with_pre(1, 0, 50, 0), 3);
	assert_int_equal(room_with_pre(1, 0, 0, 20), 3);
	/* an hour against a millisecond */
	assert_int_equal(room_with_pre(8, 0, 3600000, 1), 16 + 1024);
}

static void admission_counts_all_replicas(void **state)
{
	(void)state;
	assert_true(balance_admit(0, 0, 1));
	assert_false(balance_admit(1, 0, 1));
	assert_true(balance_admit(2047, 2, 1024));
	assert_false(balance_admit(2048, 2, 1024));
}

static void only_the_repeatable_repeats(void **state)
{
	struct repeat_facts f = {0};

	(void)state;
	assert_false(repeat_allowed(&f));
	f.body_kept = true;
	assert_false(repeat_allowed(&f));
	f.idempotency_key = true;
	assert_true(repeat_allowed(&f));
	f.body_kept = false;
	f.retry_safe = f.idempotent_method = true;
	assert_false(repeat_allowed(&f));
}

static void what_is_beyond_its_promise_claims_little(void **state)
{
	(void)state;
	assert_int_equal(share_millis(200, 1, false), 200);
	assert_int_equal(share_millis(200, 1, true), 200 / SHARE_BEYOND);
	/* a replica's is its processes' together */
	assert_int_equal(share_millis(200, 4, false), 50);
	assert_int_equal(share_millis(200, 4, true), 3);
	/* not said, and never nothing */
	assert_int_equal(share_millis(0, 0, false), SHARE_DEFAULT_MILLIS);
	assert_int_equal(share_millis(20, 8, true), 1);
}

enum { TENTH = 100000 }; /* of a second, in us */

/* After n tenths of a second in each of which it takes so many thousandths. */
static bool light_after(struct share_credit *c, int n, int64_t millis,
			int64_t claim, int64_t claims)
{
	while (n-- > 0)
		share_credit(c, millis * TENTH / 1000, TENTH, claim, claims, 2);
	return c->light;
}

static void who_takes_less_than_half_of_its_part_is_light(void **state)
{
	struct share_credit c = {0};

	(void)state;
	/* Two of equal claims on two processors have one each. */
	assert_true(light_after(&c, 1000, 499, 200, 400));
	/* 200 ms of credit last for 400 ms of a whole processor ... */
	assert_true(light_after(&c, 3, 1000, 200, 400));
	assert_false(light_after(&c, 1, 1000, 200, 400));
	assert_false(light_after(&c, 1000, 600, 200, 400));
	/* ... and half of it comes back in 200 ms of rest. */
	assert_false(light_after(&c, 1, 0, 200, 400));
	assert_true(light_after(&c, 1, 0, 200, 400));
	/* Of a rest no more is kept. */
	assert_true(light_after(&c, 1000, 0, 200, 400));
	assert_false(light_after(&c, 4, 1000, 200, 400));
}

static void parts_are_those_of_all_who_are_there(void **state)
{
	struct share_credit nine = {0}, beyond = {0}, alone = {0};

	(void)state;
	/* Nine of them: 222 thousandths each. */
	assert_true(light_after(&nine, 1000, 100, 200, 1800));
	assert_false(light_after(&nine, 1000, 120, 200, 1800));
	/* Those beyond what is promised have a sixteenth. */
	assert_false(light_after(&beyond, 100, 100, 12, 424));
	/* Alone, also before all have been counted. */
	assert_true(light_after(&alone, 1000, 999, 200, 0));
}

static void requests_of_a_millisecond_are_worth_a_push(void **state)
{
	(void)state;
	assert_true(share_is_brisk(true, 1000000));
	assert_false(share_is_brisk(true, 999999));
	assert_false(share_is_brisk(true, 0));
	assert_false(share_is_brisk(false, 1000000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backoff_doubles_to_a_minute),
		cmocka_unit_test(health_forgets_failures),
		cmocka_unit_test(kills_from_outside_never_add_up),
		cmocka_unit_test(least_loaded_with_room_is_picked),
		cmocka_unit_test(equals_take_turns),
		cmocka_unit_test(a_failed_replica_is_the_last_choice),
		cmocka_unit_test(service_is_learned),
		cmocka_unit_test(what_has_no_limit_is_seen_to_have_one),
		cmocka_unit_test(room_is_a_millisecond_of_work),
		cmocka_unit_test(room_is_the_slots_where_others_may_come),
		cmocka_unit_test(room_has_what_is_in_pre),
		cmocka_unit_test(admission_counts_all_replicas),
		cmocka_unit_test(only_the_repeatable_repeats),
		cmocka_unit_test(what_is_beyond_its_promise_claims_little),
		cmocka_unit_test(who_takes_less_than_half_of_its_part_is_light),
		cmocka_unit_test(parts_are_those_of_all_who_are_there),
		cmocka_unit_test(requests_of_a_millisecond_are_worth_a_push),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
