#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"
#include "policy/batch.h"

enum { MS = 1000000 };

/* A free slot, batches of 8, an interval of 10 ms. */
static struct batch_facts facts(uint32_t waiting, uint64_t age, bool more)
{
	return (struct batch_facts){.slot_free = true,
				    .max = 8,
				    .interval = 10 * MS,
				    .waiting = waiting,
				    .age = age,
				    .expected = waiting + more};
}

static void takes(struct batch_facts f, uint32_t n)
{
	assert_int_equal(batch_decide(&f).take, n);
}

static void waits(struct batch_facts f, uint64_t ns)
{
	assert_int_equal(batch_decide(&f).take, 0);
	assert_int_equal(batch_decide(&f).wait, ns);
}

static void a_full_batch_never_waits(void **state)
{
	struct batch_facts single = facts(1, 0, true);

	(void)state;
	takes(facts(8, 0, false), 8);
	takes(facts(8, 0, true), 8);
	takes(facts(100, 0, true), 8);
	single.max = 1;
	takes(single, 1);
}

static void what_there_is_goes_when_nothing_comes(void **state)
{
	(void)state;
	for (uint32_t n = 1; n < 8; n++)
		takes(facts(n, 0, false), n);
}

static void others_are_waited_for_no_longer_than_the_interval(void **state)
{
	(void)state;
	waits(facts(3, 0, true), 10 * MS);
	waits(facts(3, 4 * MS, true), 6 * MS);
	takes(facts(3, 10 * MS, true), 3);
	takes(facts(3, 99 * MS, true), 3);
}

static void without_work_or_slot_nothing_goes(void **state)
{
	struct batch_facts busy = facts(8, 99 * MS, false);

	(void)state;
	waits(facts(0, 0, true), BATCH_NEVER);
	busy.slot_free = false;
	waits(busy, BATCH_NEVER);
}

/* One slot and requests whose bodies take a while to be read, in steps of 0.1
 * ms: each is taken once, in order, no later than it may, and the slot is idle
 * beside waiting work only while others are being read. */
static void a_sequence_of_arrivals(unsigned seed)
{
	enum { N = 400, STEP = MS / 10, MAX_SIZE = 8, INTERVAL = 5 * MS };
	uint64_t head[N], ready[N], busy_until = 0, now = 0;
	uint32_t taken = 0, there, reading;
	unsigned random = seed;

	for (uint32_t i = 0; i < N; i++) {
		head[i] = (i ? head[i - 1] : 0) +
			  (uint64_t)(rand_r(&random) % 30) * STEP;
		ready[i] = head[i] + (uint64_t)(rand_r(&random) % 20) * STEP;
		/* In order: one connection. */
		ready[i] = MAX(ready[i], i ? ready[i - 1] : 0);
	}
	for (; taken < N; now += STEP) {
		struct batch_facts f = {.slot_free = now >= busy_until,
					.max = MAX_SIZE,
					.interval = INTERVAL};
		struct batch_verdict v;

		for (there = taken; there < N && ready[there] <= now;)
			there++;
		for (reading = there; reading < N && head[reading] <= now;)
			reading++;
		f.waiting = there - taken;
		f.expected = reading - taken;
		f.age = f.waiting ? now - ready[taken] : 0;
		v = batch_decide(&f);
		assert_in_range(v.take, 0, MIN(f.waiting, (uint32_t)MAX_SIZE));
		if (v.take) {
			assert_true(f.slot_free);
			busy_until = now + (uint64_t)(10 + v.take) * STEP;
			taken += v.take;
			continue;
		}
		if (f.slot_free && f.waiting) {
			assert_true(f.expected > f.waiting);
			assert_true(f.waiting < MAX_SIZE);
			assert_true(f.age + v.wait == INTERVAL);
		}
	}
}

static void arrivals_of_all_kinds(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 50; seed++)
		a_sequence_of_arrivals(seed);
}

/* Clients that ask again as soon as they are answered are expected; those who
 * have come meanwhile, too. */
static void who_asks_again_is_expected(void **state)
{
	struct batch_callers c = {.window = MS};
	uint64_t now = 1000 * MS;

	(void)state;
	for (unsigned round = 0; round < 30; round++, now += 100 * MS) {
		batch_answered(&c, 8, 3, now);
		for (uint64_t i = 1; i <= 8; i++)
			batch_arrived(&c, now + i * MS / 10);
	}
	now -= 100 * MS;
	assert_int_equal(batch_expected(&c, now), 11);
	assert_int_equal(batch_expected(&c, now + MS), 11);
	assert_int_equal(batch_expected(&c, now + MS + 1), 0);
}

/* Arrivals that have nothing to do with answers. */
static void others_are_not_expected(void **state)
{
	struct batch_callers c = {.share = 1, .window = MS};
	uint64_t now = 1000 * MS;

	(void)state;
	for (unsigned round = 0; round < 10; round++, now += 100 * MS) {
		batch_answered(&c, 8, 3, now);
		for (uint64_t i = 1; i <= 8; i++)
			batch_arrived(&c, now + i * 10 * MS);
	}
	assert_true(c.share < 0.1);
	batch_answered(&c, 8, 3, now);
	assert_int_equal(batch_expected(&c, now), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_batch_never_waits),
		cmocka_unit_test(what_there_is_goes_when_nothing_comes),
		cmocka_unit_test(
			others_are_waited_for_no_longer_than_the_interval),
		cmocka_unit_test(without_work_or_slot_nothing_goes),
		cmocka_unit_test(arrivals_of_all_kinds),
		cmocka_unit_test(who_asks_again_is_expected),
		cmocka_unit_test(others_are_not_expected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
