/* Who gets memory that cannot hold all models: each rule by example, and all of
 * them in simulated time (swap_simulation.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "swap_simulation.h"

#define MS 1000000ull
#define S 1000000000ull
#define MIB ((uint64_t)1 << 20)

static const struct swap_rule rule = {
	.dwell = 500 * MS, .loads = 1, .lull = 100 * MS, .look = 20 * MS};

enum { A, B, C, D, MODELS };

/* Four models of 300 MiB on memory for two; A and B are in since 1 s, and it is
 * 10 s. */
struct machine {
	struct swap_model models[MODELS];
	struct swap_view view;
};

static void init(struct machine *m)
{
	*m = (struct machine){.view = {.now = 10 * S,
				       .total = 700 * MIB,
				       .free = 100 * MIB,
				       .n = MODELS}};
	m->view.models = m->models;
	for (int i = 0; i < MODELS; i++)
		m->models[i] = (struct swap_model){.need = 300 * MIB,
						   .patience = 100 * MS,
						   .reload = 2,
						   .per_s = 1};
	for (int i = A; i <= B; i++) {
		m->models[i].state = SWAP_IN;
		m->models[i].holds = 300 * MIB;
		m->models[i].in_since = S;
	}
}

static void waits(struct machine *m, int i, uint64_t oldest)
{
	m->models[i].waiting = 1;
	m->models[i].oldest = oldest;
}

static struct swap_step says(const struct machine *m, enum swap_act act,
			     enum swap_why why, int model)
{
	struct swap_step s = swap_next(&m->view, &rule);

	if (s.act != act || s.why != why || s.model != (size_t)model)
		fail_msg("act %d of model %zu: %s", s.act, s.model,
			 swap_why_word(s.why));
	return s;
}

static void nobody_claims(void **state)
{
	struct machine m;
	size_t of;

	(void)state;
	init(&m);
	assert_int_equal(swap_next(&m.view, &rule).act, SWAP_NONE);
	/* Who is in and has requests waiting claims nothing. */
	waits(&m, A, 5 * S);
	assert_int_equal(swap_next(&m.view, &rule).act, SWAP_NONE);
	assert_int_equal(swap_place(&m.view, A, &of), 0);
	assert_int_equal(of, 0);
}

static void whoever_fits_is_started(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	waits(&m, C, 0);
	m.view.free = 300 * MIB;
	says(&m, SWAP_START, SWAP_ROOM, C);
}

/* What one that loads has still to take is not free. */
static void a_load_has_its_memory(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	m.view.free = 400 * MIB;
	m.models[B].state = SWAP_LOADING;
	m.models[B].holds = 100 * MIB;
	m.models[A].in_flight = 1;
	waits(&m, C, 0);
	says(&m, SWAP_WAIT, SWAP_PATIENCE, C);
	m.view.free = 500 * MIB;
	says(&m, SWAP_START, SWAP_ROOM, C);
	/* Nor what others have that are no models. */
	m.view.coming_in = 10 * MIB;
	says(&m, SWAP_WAIT, SWAP_PATIENCE, C);
}

static void the_idle_one_of_the_least_value_goes(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	waits(&m, C, 0);
	m.models[A].per_s = 5;
	says(&m, SWAP_EVICT, SWAP_IDLE, B);
	/* A load that takes ten times as long outweighs that. */
	m.models[B].reload = 20;
	says(&m, SWAP_EVICT, SWAP_IDLE, A);
	/* For each byte. */
	m.models[B].holds = 3000 * MIB;
	says(&m, SWAP_EVICT, SWAP_IDLE, B);
	assert_int_equal(swap_goes(&m.view, &rule, B), 1);
	assert_int_equal(swap_goes(&m.view, &rule, A), 2);
	assert_int_equal(swap_goes(&m.view, &rule, C), 0);
}

static void of_those_alike_the_longest_idle_goes(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	waits(&m, C, 0);
	m.models[A].idle_since = 5 * S;
	m.models[B].idle_since = 4 * S;
	says(&m, SWAP_EVICT, SWAP_IDLE, B);
}

/* The small one is worth least, but the large one has to go anyway. */
static void no_more_go_than_must(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	waits(&m, C, 0);
	m.models[A].holds = 10 * MIB;
	m.models[A].per_s = 0;
	m.models[B].holds = 300 * MIB;
	says(&m, SWAP_EVICT, SWAP_IDLE, B);
	/* Together with what is free the small one is enough. */
	m.view.free = 290 * MIB;
	says(&m, SWAP_EVICT, SWAP_IDLE, A);
}

/* Nobody goes for a claimant that cannot be helped by it. */
static void none_goes_in_vain(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	m.models[C].need = 650 * MIB;
	m.models[A].in_flight = 1;
	waits(&m, C, 0);
	says(&m, SWAP_WAIT, SWAP_PATIENCE, C);
	waits(&m, C, 100 * MS);
	says(&m, SWAP_YIELD, SWAP_FAIR, A);
	m.models[A].yielding = true;
	m.models[A].yield_since = m.view.now;
	says(&m, SWAP_EVICT, SWAP_IDLE, B);
	m.models[B].state = SWAP_LEAVING;
	says(&m, SWAP_WAIT, SWAP_FINISHING, C);
	m.models[A].in_flight = 0;
	says(&m, SWAP_EVICT, SWAP_EMPTY, A);
	m.models[A].state = SWAP_LEAVING;
	says(&m, SWAP_WAIT, SWAP_ENDING, C);
	/* Both are gone, but what they had is not free yet. */
	m.models[A].state = m.models[B].state = SWAP_OUT;
	says(&m, SWAP_WAIT, SWAP_ELSEWHERE, C);
	m.view.free = 700 * MIB;
	says(&m, SWAP_START, SWAP_ROOM, C);
}

static void who_is_in_is_served_while_others_may_wait(void **state)
{
	struct swap_step s;
	struct machine m;

	(void)state;
	init(&m);
	m.models[A].in_flight = m.models[B].in_flight = 3;
	waits(&m, C, 40 * MS);
	s = says(&m, SWAP_WAIT, SWAP_PATIENCE, C);
	assert_true(s.until == m.view.now + 60 * MS);
	waits(&m, C, 100 * MS);
	m.models[A].in_since = 2 * S;
	says(&m, SWAP_YIELD, SWAP_FAIR, B);
	/* They have only just come: each stays for as long as it loaded. */
	m.models[A].in_since = m.view.now - 1500 * MS;
	m.models[B].in_since = m.view.now - 1200 * MS;
	s = says(&m, SWAP_WAIT, SWAP_DWELL, C);
	assert_true(s.until == m.view.now + 500 * MS);
	m.models[A].reload = m.models[B].reload = 0.01;
	says(&m, SWAP_YIELD, SWAP_FAIR, A);
	assert_true(swap_dwell(&m.models[A], &rule) == 500 * MS);
}

/* Both have just answered, and had been loaded just before. */
static void a_moment_without_a_request_is_no_rest(void **state)
{
	struct swap_step s;
	struct machine m;

	(void)state;
	init(&m);
	m.models[A].in_since = m.models[B].in_since = m.view.now - S;
	m.models[A].idle_since = m.view.now - 30 * MS;
	m.models[B].idle_since = m.view.now - 60 * MS;
	waits(&m, C, 10 * MS);
	s = says(&m, SWAP_WAIT, SWAP_PATIENCE, C);
	assert_true(s.until == m.view.now + 40 * MS);
	assert_int_equal(swap_goes(&m.view, &rule, B), 0);
	/* Their dwell comes before the others' patience, too. */
	waits(&m, C, S);
	s = says(&m, SWAP_WAIT, SWAP_DWELL, C);
	assert_true(s.until == m.view.now + 40 * MS);
	/* Nothing has come for a while; A's next request has. */
	m.view.now += 80 * MS;
	m.models[A].idle_since = m.view.now;
	says(&m, SWAP_EVICT, SWAP_IDLE, B);
	assert_int_equal(swap_goes(&m.view, &rule, B), 1);
	assert_int_equal(swap_goes(&m.view, &rule, A), 0);
	/* One whose dwell is over is served for as long as others may wait, */
	m.models[B].in_flight = 1;
	m.models[B].in_since = m.view.now;
	m.models[A].in_since = m.view.now - 2 * S;
	waits(&m, C, 10 * MS);
	s = says(&m, SWAP_WAIT, SWAP_PATIENCE, C);
	assert_true(s.until == m.view.now + 90 * MS);
	/* ... and no longer. */
	waits(&m, C, 100 * MS);
	says(&m, SWAP_YIELD, SWAP_FAIR, A);
	m.models[A].yielding = true;
	m.models[A].yield_since = m.view.now;
	says(&m, SWAP_EVICT, SWAP_EMPTY, A);
	/* A request that waits for it is no rest, either. */
	m.models[A].yielding = false;
	m.models[A].waiting = 1;
	m.models[A].idle_since = 0;
	says(&m, SWAP_YIELD, SWAP_FAIR, A);
}

static void one_that_does_not_become_empty_is_not_waited_for(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	m.models[A].in_flight = m.models[B].in_flight = 1;
	m.models[A].yielding = true;
	m.models[A].yield_since = m.view.now - S;
	waits(&m, C, 3 * S);
	says(&m, SWAP_WAIT, SWAP_FINISHING, C);
	m.models[A].yield_since = m.view.now - 2 * S;
	says(&m, SWAP_YIELD, SWAP_FAIR, B);
	m.models[B].yielding = true;
	m.models[B].yield_since = m.view.now;
	says(&m, SWAP_WAIT, SWAP_FINISHING, C);
}

/* Nor does it stand still for ever, where no other can take its place. */
static void one_that_cannot_become_empty_serves_on(void **state)
{
	struct swap_step s;
	struct machine m;

	(void)state;
	init(&m);
	m.models[B].kept = true;
	m.models[A].in_flight = 1;
	m.models[A].yielding = true;
	m.models[A].yield_since = m.view.now - S;
	waits(&m, C, 3 * S);
	says(&m, SWAP_WAIT, SWAP_FINISHING, C);
	m.view.now += S;
	says(&m, SWAP_UNYIELD, SWAP_OVERDUE, A);
	m.models[A].yielding = false;
	m.models[A].spared_since = m.view.now;
	s = says(&m, SWAP_WAIT, SWAP_DWELL, C);
	assert_true(s.until == m.view.now + 2 * S);
	m.view.now += 2 * S;
	says(&m, SWAP_YIELD, SWAP_FAIR, A);
}

static void leases_come_first(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	m.models[A].leases = m.models[B].leases = 1;
	waits(&m, C, 0);
	says(&m, SWAP_WAIT, SWAP_PATIENCE, C);
	m.models[A].yielding = true;
	m.models[A].yield_since = m.view.now;
	waits(&m, C, S);
	says(&m, SWAP_WAIT, SWAP_FINISHING, C);
	m.models[A].leases = 0;
	says(&m, SWAP_EVICT, SWAP_EMPTY, A);
}

static void what_loads_or_is_kept_does_not_go(void **state)
{
	struct machine m;

	(void)state;
	init(&m);
	m.models[A].kept = true;
	m.models[A].keeps = 300 * MIB;
	m.models[B].state = SWAP_LOADING;
	waits(&m, C, 60 * S);
	says(&m, SWAP_WAIT, SWAP_DWELL, C);
	m.models[B].kept = true;
	says(&m, SWAP_WAIT, SWAP_ELSEWHERE, C);
}

static void what_can_never_be_is_refused(void **state)
{
	struct swap_step s;
	struct machine m;

	(void)state;
	init(&m);
	m.models[A].kept = true;
	m.models[A].keeps = 300 * MIB;
	m.models[C].need = 500 * MIB;
	waits(&m, C, 0);
	s = says(&m, SWAP_REFUSE, SWAP_TOO_LARGE, C);
	assert_true(s.needs == 500 * MIB && s.has == 400 * MIB);
	/* Its own are not in its way. */
	m.models[A].kept = false;
	m.models[A].keeps = 0;
	m.models[C].keeps = 500 * MIB;
	says(&m, SWAP_EVICT, SWAP_IDLE, A);
}

static void the_longest_comes_first(void **state)
{
	struct machine m;
	size_t of;

	(void)state;
	init(&m);
	waits(&m, C, 50 * MS);
	waits(&m, D, 200 * MS);
	assert_int_equal(swap_place(&m.view, D, &of), 1);
	assert_int_equal(swap_place(&m.view, C, &of), 2);
	assert_int_equal(of, 2);
	m.view.free = 300 * MIB;
	says(&m, SWAP_START, SWAP_ROOM, D);
	/* It needs more: what is there is not given to others, ... */
	m.models[D].need = 600 * MIB;
	m.models[A].in_flight = m.models[B].in_flight = 1;
	m.models[A].in_since = m.models[B].in_since = m.view.now;
	says(&m, SWAP_WAIT, SWAP_DWELL, D);
	/* ... unless it may wait still, ... */
	m.models[D].patience = S;
	says(&m, SWAP_START, SWAP_ROOM, C);
	/* ... or all that may go is not enough. */
	m.models[D].patience = 100 * MS;
	m.view.total = 1400 * MIB;
	m.models[D].need = 1000 * MIB;
	says(&m, SWAP_START, SWAP_ROOM, C);
}

static void requests_that_came_fade(void **state)
{
	struct swap_rate r = {.n = 0};

	(void)state;
	for (uint64_t i = 0; i < 3000; i++)
		swap_arrived(&r, i * S);
	/* One a second, for ten times as long as is looked back. */
	assert_true(swap_per_s(&r, 3000 * S) > 0.95);
	assert_true(swap_per_s(&r, 3000 * S) < 1.05);
	assert_true(swap_per_s(&r, 3300 * S) < 0.4);
	assert_true(swap_per_s(&r, 3300 * S) > 0.3);
	assert_true(swap_per_s(&r, 9000 * S) < 1e-6);
}

static void what_ran_out_needs_more(void **state)
{
	(void)state;
	assert_true(swap_raised(200, 300, 0, 10000) == 450);
	assert_true(swap_raised(200, 0, 0, 10000) == 300);
	assert_true(swap_raised(200, 300, 320, 10000) == 320);
	assert_true(swap_raised(200, 300, 0, 400) == 400);
	/* What it was known to need is not forgotten. */
	assert_true(swap_raised(200, 100, 100, 10000) == 200);
}

/* Twelve models on memory for five, 100,000 steps of 5 ms, for several seeds.
 */
static void in_simulated_time(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 4; seed++) {
		struct simulation *s = simulation_new(seed);

		simulation_run(s, 100000);
		assert_true(s->answered > 5000);
		assert_true(s->evictions > 100);
		assert_true(s->yields > 20);
		assert_true(s->died > 10);
		assert_true(s->raised > 0);
		assert_true(s->refused > 100);
		assert_true(s->late > 10);
		assert_true(s->spared > 0);
		assert_true(s->backoffs > 10);
		if (MAX(s->longest, s->unserved) > simulation_bound())
			fail_msg("seed %u: one waited %.1f s, of %.1f s", seed,
				 (double)MAX(s->longest, s->unserved) / 1e9,
				 (double)simulation_bound() / 1e9);
		print_message("seed %u: %u answered, %u evictions, %u yields, "
			      "%u died, %u raised, %u late, %u spared, %u "
			      "refused, longest %.1f s, unserved %.1f s\n",
			      seed, s->answered, s->evictions, s->yields,
			      s->died, s->raised, s->late, s->spared,
			      s->refused, (double)s->longest / 1e9,
			      (double)s->unserved / 1e9);
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_claims),
		cmocka_unit_test(whoever_fits_is_started),
		cmocka_unit_test(a_load_has_its_memory),
		cmocka_unit_test(the_idle_one_of_the_least_value_goes),
		cmocka_unit_test(of_those_alike_the_longest_idle_goes),
		cmocka_unit_test(no_more_go_than_must),
		cmocka_unit_test(none_goes_in_vain),
		cmocka_unit_test(who_is_in_is_served_while_others_may_wait),
		cmocka_unit_test(a_moment_without_a_request_is_no_rest),
		cmocka_unit_test(
			one_that_does_not_become_empty_is_not_waited_for),
		cmocka_unit_test(one_that_cannot_become_empty_serves_on),
		cmocka_unit_test(leases_come_first),
		cmocka_unit_test(what_loads_or_is_kept_does_not_go),
		cmocka_unit_test(what_can_never_be_is_refused),
		cmocka_unit_test(the_longest_comes_first),
		cmocka_unit_test(requests_that_came_fade),
		cmocka_unit_test(what_ran_out_needs_more),
		cmocka_unit_test(in_simulated_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
