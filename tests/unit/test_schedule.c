/* Times at which an api has no fewer replicas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "serve/schedule.h"

static const int64_t MONDAY_8 = 1772438400; /* 2026-03-02 08:00 UTC */

static uint32_t floor_at(struct schedule *s, int64_t now, int64_t until)
{
	int64_t told;
	uint32_t n = schedule_floor(s, now, &told);

	assert_int_equal(told, until);
	return n;
}

static void a_schedule_holds_for_its_time(void **state)
{
	static const int64_t minute = 60, hour = 3600, day = 24 * 3600;
	const int64_t t = MONDAY_8;
	struct schedule s;

	(void)state;
	schedule_init(&s, "{\"items\":[{\"cron\":\"0 8 * * 1-5\",\"for\":"
			  "36000000,\"min_replicas\":2},{\"cron\":"
			  "\"0 12 * * *\",\"for\":3600000,\"min_replicas\":"
			  "5},{\"cron\":\"none\"}]}");
	assert_int_equal(s.n, 2);
	assert_int_equal(floor_at(&s, t - minute, t), 0);
	assert_int_equal(floor_at(&s, t, t + 4 * hour), 2);
	assert_int_equal(floor_at(&s, t + 4 * hour, t + 5 * hour), 5);
	assert_int_equal(floor_at(&s, t + 5 * hour, t + 10 * hour), 2);
	assert_int_equal(floor_at(&s, t + 10 * hour - 1, t + 10 * hour), 2);
	assert_int_equal(floor_at(&s, t + 10 * hour, t + day), 0);
	/* Asked rarely, or after the clock was put back, it is the same. */
	assert_int_equal(floor_at(&s, t + 72 * hour, t + 76 * hour), 2);
	assert_int_equal(floor_at(&s, t - minute, t), 0);
	assert_int_equal(floor_at(&s, t + 9 * hour, t + 10 * hour), 2);
	/* A Saturday. */
	assert_int_equal(floor_at(&s, t + 5 * day, t + 5 * day + 4 * hour), 0);
	schedule_fini(&s);
	schedule_init(&s, NULL);
	assert_int_equal(floor_at(&s, t, t + 7 * day), 0);
	schedule_fini(&s);
}

/* One that begins anew before it is over goes on. */
static void a_schedule_that_overlaps_itself(void **state)
{
	struct schedule s;
	int64_t until;

	(void)state;
	schedule_init(&s, "{\"items\":[{\"cron\":\"*/10 * * * *\",\"for\":"
			  "3600000,\"min_replicas\":3}]}");
	for (int64_t i = 0; i < 3600; i += 30)
		assert_int_equal(schedule_floor(&s, MONDAY_8 + i, &until), 3);
	schedule_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_schedule_holds_for_its_time),
		cmocka_unit_test(a_schedule_that_overlaps_itself),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
