/* Roll-outs by numbers: cases that have names, and simulated ones of all kinds:
 * bounds are kept, and each comes to its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"
#include "policy/rollout.h"

enum { RUNS = 20000, STEPS = 400 };

static void shares(void **state)
{
	(void)state;
	assert_int_equal(rollout_share("auto", 4, true), ROLLOUT_AUTO);
	assert_int_equal(rollout_share("3", 4, true), 3);
	assert_int_equal(rollout_share("25%", 4, true), 1);
	assert_int_equal(rollout_share("25%", 5, true), 2);
	assert_int_equal(rollout_share("25%", 5, false), 1);
	assert_int_equal(rollout_share("25%", 1, true), 1);
	assert_int_equal(rollout_share("25%", 1, false), 0);
	assert_int_equal(rollout_share("0%", 9, true), 0);
	assert_int_equal(rollout_share("100%", 9, false), 9);
}

static const struct rollout_rule as_it_fits = {ROLLOUT_AUTO, ROLLOUT_AUTO};

static void all_beside(void **state)
{
	struct rollout_view v = {.asked = 3,
				 .kept = 3,
				 .old_places = 3,
				 .old_ready = 3,
				 .room = 3,
				 .soon = 3,
				 .instead = 6};
	struct rollout_step s = rollout_next(&v, &as_it_fits);

	(void)state;
	assert_int_equal(s.new_places, 3);
	assert_int_equal(s.old_places, 3);
	assert_false(s.shares || s.hold || s.hopeless);
	v.new_places = 3;
	v.room = v.soon = 0;
	v.new_ready = 2;
	s = rollout_next(&v, &as_it_fits);
	assert_int_equal(s.old_places, 3);
	assert_false(s.shares);
}

static void one_by_one(void **state)
{
	struct rollout_view v = {.asked = 2,
				 .kept = 2,
				 .old_places = 2,
				 .old_ready = 2,
				 .instead = 2};
	struct rollout_step s = rollout_next(&v, &as_it_fits);

	(void)state;
	/* There is no room: an old one goes, and the other serves. */
	assert_int_equal(s.old_places, 1);
	assert_false(s.hold || s.shares);
	v.old_places = v.old_ready = 1;
	v.room = v.soon = 1;
	s = rollout_next(&v, &as_it_fits);
	assert_int_equal(s.old_places, 1);
	assert_int_equal(s.new_places, 2);
	v.room = v.soon = 0;
	v.new_places = v.new_ready = 1;
	s = rollout_next(&v, &as_it_fits);
	assert_int_equal(s.old_places, 0);
	assert_true(s.shares);
	assert_false(s.hold);
}

static void the_only_one(void **state)
{
	struct rollout_view v = {.asked = 1,
				 .kept = 1,
				 .old_places = 1,
				 .old_ready = 1,
				 .instead = 1};
	struct rollout_step s = rollout_next(&v, &as_it_fits);

	(void)state;
	assert_int_equal(s.old_places, 0);
	assert_true(s.hold);
	/* It is on its way out, and the new one comes; it does not come back.
	 */
	v.old_places = v.old_ready = 0;
	v.soon = 1;
	s = rollout_next(&v, &as_it_fits);
	assert_int_equal(s.old_places, 0);
	assert_int_equal(s.new_places, 1);
	assert_false(s.hold);
	/* Where it can have no room at all the old one stays. */
	v = (struct rollout_view){
		.asked = 1, .kept = 1, .old_places = 1, .old_ready = 1};
	s = rollout_next(&v, &as_it_fits);
	assert_true(s.hopeless);
	assert_int_equal(s.old_places, 1);
}

static void none_may_be_missing(void **state)
{
	const struct rollout_rule rule = {1, 0};
	struct rollout_view v = {.asked = 1,
				 .kept = 1,
				 .old_places = 1,
				 .old_ready = 1,
				 .instead = 1};
	struct rollout_step s = rollout_next(&v, &rule);

	(void)state;
	assert_int_equal(s.old_places, 1);
	assert_false(s.hold);
}

static void killed_first(void **state)
{
	const struct rollout_rule rule = {0, 1};
	struct rollout_view v = {.asked = 2,
				 .kept = 2,
				 .old_places = 2,
				 .old_ready = 2,
				 .room = 9,
				 .soon = 9,
				 .instead = 9};
	struct rollout_step s = rollout_next(&v, &rule);

	(void)state;
	assert_int_equal(s.old_places, 1);
	assert_int_equal(s.new_places, 0);
	v.old_places = v.old_ready = 1;
	s = rollout_next(&v, &rule);
	assert_int_equal(s.old_places, 1);
	assert_int_equal(s.new_places, 1);
}

/* ---- simulated ---- */

static uint32_t seed = 1;

static uint32_t dice(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)seed * n) >> 32);
}

/* One machine: memory in units, of which each replica takes so many. */
struct machine {
	struct rollout_rule rule;
	uint32_t n, kept, memory, old_size, new_size;
	uint32_t old, old_leaving, made, ready;
};

static uint32_t fit(uint32_t left, uint32_t each)
{
	return left / each;
}

static uint32_t left_of(uint32_t all, uint32_t taken)
{
	return all - MIN(all, taken);
}

static struct rollout_view look(const struct machine *m)
{
	uint32_t mine = m->made * m->new_size, old = m->old * m->old_size;
	uint32_t leaving = m->old_leaving * m->old_size;

	return (struct rollout_view){
		.asked = m->n,
		.kept = m->kept,
		.old_places = m->old,
		.old_ready = m->old,
		.new_places = m->made,
		.new_ready = m->ready,
		.room = fit(left_of(m->memory, mine + old + leaving),
			    m->new_size),
		.soon = fit(left_of(m->memory, mine + old), m->new_size),
		.instead = fit(left_of(m->memory, mine), m->new_size),
	};
}

static uint32_t down_of(const struct machine *m)
{
	uint32_t down = m->rule.unavailable;

	if (down == ROLLOUT_AUTO)
		down = 0;
	return !m->rule.surge && !down ? 1 : down;
}

static uint32_t surge_of(const struct machine *m)
{
	return m->rule.surge == ROLLOUT_AUTO ? m->n : m->rule.surge;
}

/* One step of what exists towards what is allowed, and some chance event. */
static void turn(struct machine *m, bool *ret_moved)
{
	struct rollout_view v = look(m);
	struct rollout_step s = rollout_next(&v, &m->rule);
	uint32_t more = MIN(left_of(s.new_places, m->made), v.room);
	uint32_t gone = left_of(m->old, s.old_places);

	*ret_moved = more || gone || m->old_leaving || m->ready < m->made;
	assert_true(s.new_places <= m->n);
	assert_true(s.new_places >= m->made);
	/* Nothing that serves goes where more of it may not be missing. */
	if (gone && m->rule.unavailable != ROLLOUT_AUTO)
		assert_true(s.old_places + m->ready + down_of(m) >= m->kept);
	/* ... and by itself only the last way out is to have fewer. */
	if (gone && m->rule.unavailable == ROLLOUT_AUTO && surge_of(m)) {
		bool was_stuck = !MAX(v.room, v.soon);

		assert_true(was_stuck || s.old_places + m->ready >= m->kept);
		assert_true(!was_stuck || gone == 1 ||
			    s.old_places + m->ready >= m->kept);
	}
	if (s.hold)
		assert_true(!m->ready && !s.old_places);
	if (m->ready < m->n && s.shares)
		assert_true(m->ready);
	m->made += more;
	m->old -= gone;
	m->old_leaving += gone;
	assert_true((m->old + m->old_leaving) * m->old_size +
			    m->made * m->new_size <=
		    m->memory);
	assert_true(m->made + m->old <= MAX(m->n, m->kept) + surge_of(m));
	if (m->old_leaving && dice(2))
		m->old_leaving--;
	if (m->ready < m->made && dice(2))
		m->ready++;
}

static bool is_over(const struct machine *m)
{
	uint32_t most = fit(m->memory, m->new_size);

	return m->ready >= m->n || (!m->old && m->ready == MIN(most, m->n));
}

static void each_comes_to_its_end(void **state)
{
	unsigned ended = 0, waited = 0;

	(void)state;
	for (int run = 0; run < RUNS; run++) {
		struct machine m = {
			.n = 1 + dice(6),
			.kept = 1 + dice(6),
			.old_size = 1 + dice(4),
			.new_size = 1 + dice(4),
		};
		bool moved = true;

		m.rule.surge = dice(2) ? ROLLOUT_AUTO : dice(4);
		m.rule.unavailable = dice(2) ? ROLLOUT_AUTO : dice(4);
		m.old = m.kept;
		m.memory = m.old * m.old_size + dice(12);
		for (int i = 0; i < STEPS && moved && !is_over(&m); i++)
			turn(&m, &moved);
		ended += is_over(&m);
		if (is_over(&m))
			continue;
		waited++;
		/* It has no room at all, or its rule lets no old one go. */
		assert_false(moved);
		assert_true(m.memory < m.new_size ||
			    m.rule.unavailable != ROLLOUT_AUTO);
		if (m.rule.unavailable != ROLLOUT_AUTO &&
		    m.memory >= m.new_size)
			assert_true(m.old + m.ready <
				    m.kept - MIN(m.kept, down_of(&m)) + 1);
	}
	print_message("%u came to their end, %u could not\n", ended, waited);
	assert_true(ended > RUNS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares),
		cmocka_unit_test(all_beside),
		cmocka_unit_test(one_by_one),
		cmocka_unit_test(the_only_one),
		cmocka_unit_test(none_may_be_missing),
		cmocka_unit_test(killed_first),
		cmocka_unit_test(each_comes_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
