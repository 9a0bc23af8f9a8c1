#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/autoscale.h"

#define MS 1000000ull
#define S 1000000000ull

/* An api whose requests take 100 ms and may wait as long, and whose replicas
 * take 2 s to be ready; time is told by each call. */
struct api {
	struct autoscale scale;
	struct scale_rule rule;
	struct scale_view v;
};

static struct api api_of(void)
{
	return (struct api){
		.rule = {.max = 100, .patience = 100 * MS, .worth = 30},
		.v = {.slots = 1, .service = 100 * MS, .load = 2 * S},
	};
}

static struct scale_advice at(struct api *a, uint64_t now)
{
	a->v.now = now;
	return autoscale(&a->scale, &a->v, &a->rule);
}

/* A request that comes at a time, takes 100 ms, and finds a replica. */
static struct scale_advice serve(struct api *a, uint64_t now)
{
	autoscale_arrived(&a->scale, now);
	a->v.in_flight++;
	a->v.waiting = a->v.ready ? 0 : 1;
	at(a, now);
	a->v.ready = a->v.ready ? a->v.ready : 1;
	a->v.waiting = 0;
	a->v.in_flight--;
	now += 100 * MS;
	for (int i = 0; i < 20; i++) {
		struct scale_advice s = at(a, now);

		if (!s.again || s.again > now + S)
			return s;
		now = s.again;
	}
	fail();
	return (struct scale_advice){0};
}

/* Follows the advice until none is wanted; the time of that. */
static uint64_t until_none(struct api *a, struct scale_advice s)
{
	uint64_t now = 0;

	while (s.want) {
		assert_true(s.again > now);
		now = s.again;
		s = at(a, now);
	}
	a->v.ready = 0;
	return now;
}

static void from_none_and_back(void **state)
{
	struct api a = api_of();
	struct scale_advice s = at(&a, S);
	uint64_t end;

	(void)state;
	assert_int_equal(s.want, 0);
	assert_int_equal(s.why, SCALE_IDLE);
	assert_int_equal(s.again, 0);
	autoscale_arrived(&a.scale, 2 * S);
	a.v.in_flight = a.v.waiting = 1;
	s = at(&a, 2 * S);
	assert_int_equal(s.want, 1);
	assert_int_equal(s.why, SCALE_NEEDED);
	a.v.loading = 1;
	assert_int_equal(at(&a, 3 * S).want, 1);
	a.v.loading = 0;
	a.v.ready = 1;
	a.v.in_flight = a.v.waiting = 0;
	s = at(&a, 4 * S);
	assert_int_equal(s.want, 1);
	end = until_none(&a, s);
	assert_true(end > 4 * S && end < 600 * S);
	autoscale_fini(&a.scale);
}

/* Requests a minute apart: kept for a minute, as they come again; an hour
 * apart: not kept once that is known. */
static void keeps_what_comes_again(void **state)
{
	static const struct {
		uint64_t gap;
		bool kept;
	} cases[] = {{20 * S, true}, {3600 * S, false}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct api a = api_of();
		struct scale_advice s = {0};
		uint64_t now = 0, end;

		for (int k = 0; k < 50; k++) {
			s = serve(&a, now += cases[i].gap);
			if (!cases[i].kept && k < 49)
				until_none(&a, s);
		}
		if (cases[i].kept) {
			s = at(&a, now + 300 * MS);
			assert_int_equal(s.why, SCALE_KEPT);
			assert_true(s.kept > cases[i].gap);
			assert_true(s.expected > 0.9);
		}
		end = until_none(&a, s);
		if (cases[i].kept)
			assert_true(end > now + cases[i].gap);
		else
			assert_true(end < now + 30 * S);
		autoscale_fini(&a.scale);
	}
}

/* With a start that nobody notices nothing is kept. */
static void nothing_is_kept_where_a_start_is_short(void **state)
{
	struct api a = api_of();
	struct scale_advice s = {0};

	(void)state;
	a.v.load = 5 * MS;
	for (uint64_t k = 1; k < 20; k++)
		s = serve(&a, k * 20 * S);
	/* The 100 ms in which another request may come, and no more. */
	assert_true(until_none(&a, s) < 19 * 20 * S + 1 * S);
	autoscale_fini(&a.scale);
}

/* A rate that asks for five replicas gets them before a queue has built up. */
static void as_many_as_the_rate_asks_for(void **state)
{
	struct api a = api_of();
	struct scale_advice s = {0};
	uint64_t now = S;

	(void)state;
	a.v.ready = 1;
	a.v.load = 50 * MS;
	for (int i = 0; i < 100; i++) {
		now += 20 * MS;
		autoscale_arrived(&a.scale, now);
		a.v.in_flight = 5;
		a.v.waiting = a.v.ready < 5 ? 5 - a.v.ready : 0;
		s = at(&a, now);
		if (s.want > a.v.ready)
			a.v.ready = s.want;
	}
	assert_in_range(s.want, 5, 7);
	assert_true(s.rate > 40 && s.rate < 55);
	autoscale_fini(&a.scale);
}

/* While replicas load for a minute those who wait are not taken for load: ten
 * a second of 100 ms each are the work of a few, whatever the queue. */
static void a_queue_at_a_slow_start_is_no_stampede(void **state)
{
	struct api a = api_of();
	uint32_t most = 0;
	uint64_t now = S;

	(void)state;
	a.v.load = 60 * S;
	for (int i = 0; i < 600; i++) {
		struct scale_advice s;

		now += 100 * MS;
		autoscale_arrived(&a.scale, now);
		a.v.waiting = ++a.v.in_flight;
		s = at(&a, now);
		if (s.want > a.v.loading)
			a.v.loading = s.want;
		if (s.want > most)
			most = s.want;
	}
	assert_in_range(most, 2, 4);
	autoscale_fini(&a.scale);
}

/* Nobody knows how long requests take: one replica tells first. */
static void the_first_answer_tells(void **state)
{
	struct api a = api_of();
	struct scale_advice s;

	(void)state;
	a.v.service = 0;
	for (int i = 0; i < 50; i++)
		autoscale_arrived(&a.scale, S);
	a.v.in_flight = a.v.waiting = 50;
	s = at(&a, S);
	assert_in_range(s.want, 1, 3);
	a.v.ready = 1;
	a.v.waiting = 49;
	assert_in_range(at(&a, 2 * S).want, 2, 5);
	/* Where a start is short all have one. */
	a.v.load = 5 * MS;
	assert_int_equal(at(&a, 3 * S).want, 50);
	autoscale_fini(&a.scale);
}

static void min_and_max(void **state)
{
	struct api a = api_of();
	struct scale_advice s;

	(void)state;
	a.rule.min = 2;
	s = at(&a, S);
	assert_int_equal(s.want, 2);
	assert_int_equal(s.why, SCALE_MIN);
	a.rule.max = 3;
	a.v.load = 10 * MS;
	a.v.ready = 2;
	for (int i = 0; i < 20; i++)
		autoscale_arrived(&a.scale, 2 * S);
	a.v.in_flight = 20;
	a.v.waiting = 18;
	s = at(&a, 2 * S);
	assert_int_equal(s.want, 3);
	assert_int_equal(s.why, SCALE_MAX);
	autoscale_fini(&a.scale);
}

/* The clock of a daemon that slept, or was stopped. */
static void a_jump_ahead_is_a_long_gap(void **state)
{
	struct api a = api_of();

	(void)state;
	for (uint64_t k = 1; k < 20; k++)
		serve(&a, k * S);
	assert_int_equal(at(&a, 20 * S).want, 1);
	assert_int_equal(at(&a, 30 * 24 * 3600 * S).want, 0);
	a.v.ready = 0;
	serve(&a, 31 * 24 * 3600 * S);
	assert_int_equal(a.v.ready, 1);
	autoscale_fini(&a.scale);
}

/* A thousand short gaps leave what a long one has told. */
static void bursts_do_not_hide_what_is_between_them(void **state)
{
	struct api a = api_of();
	struct scale_advice s = {0};
	uint64_t now = S;

	(void)state;
	a.rule.worth = 3000;
	for (int hour = 0; hour < 6; hour++) {
		for (int i = 0; i < 1000; i++, now += S)
			s = serve(&a, now);
		now += 40 * 60 * S;
	}
	assert_true(s.kept > 40 * 60 * S && s.kept < 2 * 3600 * S);
	assert_true(s.expected > 0.98F);
	autoscale_fini(&a.scale);
}

/* Whatever was learned: what is said holds, of the first and of a later one. */
static void a_time_that_is_said(void **state)
{
	struct api a = api_of();
	struct scale_advice s;
	uint64_t now = S, end;

	(void)state;
	a.rule.keep = 10 * S;
	for (int i = 0; i < 20; i++, now += 3600 * S) {
		s = serve(&a, now);
		assert_int_equal(s.why, SCALE_KEPT);
		assert_int_equal(s.kept, 10 * S);
		/* From when the window no longer holds its request. */
		end = until_none(&a, s);
		assert_true(end >= now + 10 * S && end <= now + 10300 * MS);
	}
	autoscale_fini(&a.scale);
}

/* Eight come at once while none is there, and take long. How many are wanted a
 * second after the last has gone. */
static uint32_t after_a_crowd(uint64_t keep)
{
	struct api a = api_of();
	struct scale_advice s = {0};

	a.v.service = 5 * S;
	a.rule.worth = 1e6;
	a.rule.keep = keep;
	for (int i = 0; i < 8; i++) {
		autoscale_arrived(&a.scale, S);
		a.v.in_flight = a.v.waiting = (uint32_t)i + 1;
		s = at(&a, S);
		a.v.loading = s.want;
	}
	assert_int_equal(s.want, 8);
	/* The first is ready and has served two; six wait, then none. */
	a.v.ready = 1;
	a.v.loading = 7;
	a.v.in_flight = 6;
	a.v.waiting = 5;
	at(&a, 10 * S);
	a.v.in_flight = a.v.waiting = 0;
	a.v.ready = 8;
	a.v.loading = 0;
	at(&a, 12 * S);
	s = at(&a, 13 * S);
	autoscale_fini(&a.scale);
	return s.want;
}

static void what_a_crowd_has_started_is_kept_as_long(void **state)
{
	(void)state;
	assert_int_equal(after_a_crowd(60 * S), 8);
	assert_int_equal(after_a_crowd(MS), 0);
}

/* What was learned before a restart decides after it as it did before. */
static void what_was_learned_comes_back(void **state)
{
	struct api before = api_of(), after = api_of();
	struct scale_advice s = {0}, t;
	uint64_t now = S;

	(void)state;
	assert_null(autoscale_gaps(&before.scale, 0));
	for (int i = 0; i < 30; i++, now += 20 * S)
		s = serve(&before, now);
	assert_true(before.scale.learned >= 29);
	assert_null(autoscale_gaps(&before.scale, 1));
	autoscale_recall(&after.scale, 0, autoscale_gaps(&before.scale, 0));
	t = serve(&after, now);
	assert_int_equal(t.why, s.why);
	assert_true(t.kept == s.kept && t.want == s.want);
	assert_true(t.expected > s.expected - 0.02 &&
		    t.expected < s.expected + 0.02);
	/* It goes on learning from there. */
	serve(&after, now + 20 * S);
	assert_int_equal(after.scale.learned, 1);
	autoscale_fini(&before.scale);
	autoscale_fini(&after.scale);
}

/* Requests of a millisecond, on average, behind one that is not: those who have
 * waited for half of what they may get a replica each. */
static void who_waits_long_gets_another(void **state)
{
	struct api a = api_of();
	struct scale_advice s;

	(void)state;
	a.v.service = 1 * MS;
	a.v.load = 5 * MS;
	a.v.ready = 1;
	for (int i = 0; i < 10; i++)
		autoscale_arrived(&a.scale, S);
	a.v.in_flight = 10;
	a.v.waiting = 9;
	s = at(&a, S);
	assert_int_equal(s.want, 1);
	a.v.oldest = 20 * MS;
	s = at(&a, S + 20 * MS);
	assert_int_equal(s.want, 1);
	assert_true(s.again > 0 && s.again <= S + 50 * MS + 1);
	a.v.oldest = 50 * MS;
	s = at(&a, S + 50 * MS);
	assert_int_equal(s.want, 10);
	/* Where a start would be too late for them it is as ever. */
	a.v.load = 2 * S;
	a.v.loading = 0;
	assert_true(at(&a, S + 51 * MS).needed < 3);
	autoscale_fini(&a.scale);
}

static void every_reason_has_a_word(void **state)
{
	(void)state;
	for (enum scale_why w = SCALE_IDLE; w <= SCALE_FIRST; w++)
		assert_true(scale_why_word(w)[0] != '\0');
}

/* Two bins for each doubling, and one that ends just behind a clock's time; of
 * the prior, all is in them but what never ends. */
static void bins_are_as_they_say(void **state)
{
	static const double clocks[] = {60, 300, 600, 900, 1800, 3600, 7200};
	const struct gaps none = {.came = {0}};
	double w[GAPS_BINS], sum = 0, end = 1e-3;
	uint32_t n = 0;

	(void)state;
	gaps_expect(&none, 0, w);
	for (uint32_t i = 0; i < GAPS_BINS; i++) {
		double is = gaps_bin_end(i), clock = n < 7 ? clocks[n] : 0;

		sum += w[i];
		if (n < 7 && clock * 1.01 < end) {
			assert_true(is == clock * 1.01);
			assert_true(w[i] > 5 * w[i - 1]);
			n++;
			continue;
		}
		assert_true(is > end * 0.99999 && is < end * 1.00001);
		end *= 1.4142135623730951;
	}
	assert_int_equal(n, 7);
	assert_true(sum > 0.59999 && sum < 0.60001);
}

/* Of a gap that is as long as a bin, whatever shorter ones came since. */
static void short_gaps_say_nothing_of_long_ones(void **state)
{
	struct gaps g = {.came = {0}};
	double w[GAPS_BINS], left = 1, hour = 0;

	(void)state;
	for (int i = 0; i < 20; i++)
		gaps_learn(&g, 3590);
	for (int i = 0; i < 10000; i++)
		gaps_learn(&g, 0.5);
	gaps_expect(&g, 0, w);
	for (uint32_t i = 0; i < GAPS_BINS; i++) {
		if (gaps_bin_end(i) < 3000)
			left -= w[i];
		else if (gaps_bin_end(i) < 3700)
			hour += w[i];
	}
	assert_true(left < 0.1);
	assert_true(hour > 0.8 * left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_none_and_back),
		cmocka_unit_test(keeps_what_comes_again),
		cmocka_unit_test(nothing_is_kept_where_a_start_is_short),
		cmocka_unit_test(as_many_as_the_rate_asks_for),
		cmocka_unit_test(a_queue_at_a_slow_start_is_no_stampede),
		cmocka_unit_test(the_first_answer_tells),
		cmocka_unit_test(min_and_max),
		cmocka_unit_test(a_jump_ahead_is_a_long_gap),
		cmocka_unit_test(bins_are_as_they_say),
		cmocka_unit_test(short_gaps_say_nothing_of_long_ones),
		cmocka_unit_test(bursts_do_not_hide_what_is_between_them),
		cmocka_unit_test(a_time_that_is_said),
		cmocka_unit_test(what_a_crowd_has_started_is_kept_as_long),
		cmocka_unit_test(what_was_learned_comes_back),
		cmocka_unit_test(who_waits_long_gets_another),
		cmocka_unit_test(every_reason_has_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
