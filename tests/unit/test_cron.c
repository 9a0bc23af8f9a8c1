/* Times as crontab writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/cron.h"
#include "core/mem.h"

static bool is_time(const char *cron, const char *time)
{
	struct cron c;
	struct err err = {0};
	struct tm tm = {0};

	if (cron_parse(&c, cron, &err))
		fail_msg("%s: %s", cron, err.msg);
	assert_non_null(strptime(time, "%Y-%m-%d %H:%M", &tm));
	tm.tm_isdst = -1;
	mktime(&tm);
	return cron_matches(&c, &tm);
}

static void times_that_are_named(void **state)
{
	/* 2026-03-02 was a Monday. */
	static const struct {
		const char *cron, *time;
		bool is;
	} cases[] = {
		{"* * * * *", "2026-03-02 00:00", true},
		{"0 8 * * 1-5", "2026-03-02 08:00", true},
		{"0 8 * * 1-5", "2026-03-02 08:01", false},
		{"0 8 * * 1-5", "2026-03-01 08:00", false},
		{"0 8 * * mon-FRI", "2026-03-06 08:00", true},
		{"0 8 * * 7", "2026-03-01 08:00", true},
		{"0 8 * * 0", "2026-03-01 08:00", true},
		{"*/15 * * * *", "2026-03-02 10:45", true},
		{"*/15 * * * *", "2026-03-02 10:50", false},
		{"5/20 * * * *", "2026-03-02 10:25", true},
		{"10-30/10,59 * * * *", "2026-03-02 10:59", true},
		{"10-30/10,59 * * * *", "2026-03-02 10:40", false},
		{"0 0 1 jan *", "2026-01-01 00:00", true},
		{"0 0 1 jan *", "2026-02-01 00:00", false},
		/* Either day will do where both are said. */
		{"0 0 13 * 5", "2026-03-13 00:00", true},
		{"0 0 13 * 5", "2026-03-06 00:00", true},
		{"0 0 13 * 5", "2026-03-07 00:00", false},
		{" 0\t0  31 12 * ", "2026-12-31 00:00", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (is_time(cases[i].cron, cases[i].time) != cases[i].is)
			fail_msg("%s at %s", cases[i].cron, cases[i].time);
}

static void what_is_wrong(void **state)
{
	static const struct {
		const char *cron, *text;
	} cases[] = {
		{"", "has 0 fields, not 5: minute, hour, day of the month, "
		     "month, day of the week"},
		{"0 8 * *", "has 4 fields, not 5: minute, hour, day of the "
			    "month, month, day of the week"},
		{"0 8 * * 1 2", "has 6 fields, not 5: minute, hour, day of the "
				"month, month, day of the week"},
		{"60 * * * *", "its minute '60' is not made of numbers from 0 "
			       "to 59, such as *, 5, 1-5 or */2"},
		{"* 8-6 * * *", "its hour '8-6' is not made of numbers from 0 "
				"to 23, such as *, 5, 1-5 or */2"},
		{"* * 0 * *", "its day of the month '0' is not made of numbers "
			      "from 1 to 31, such as *, 5, 1-5 or */2"},
		{"* * * janu *", "its month 'janu' is not made of numbers from "
				 "1 to 12, such as *, 5, 1-5 or */2"},
		{"* * * * 1,", "its day of the week '1,' is not made of "
			       "numbers from 0 to 7, such as *, 5, 1-5 or */2"},
		{"*/0 * * * *", "its minute '*/0' is not made of numbers from "
				"0 to 59, such as *, 5, 1-5 or */2"},
	};
	struct cron c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = {0};

		assert_int_equal(cron_parse(&c, cases[i].cron, &err),
				 E_INVALID);
		assert_string_equal(err.msg, cases[i].text);
	}
	/* Nothing to crash on. */
	assert_int_equal(cron_parse(&c, "- , / *- 1-", NULL), E_INVALID);
	assert_int_equal(cron_parse(&c, "1/18446744073709551615 * * * *", NULL),
			 E_INVALID);
}

static int64_t next(const char *cron, int64_t from, int64_t before)
{
	struct cron c;

	assert_int_equal(cron_parse(&c, cron, NULL), 0);
	return cron_next(&c, from, before);
}

static void the_next_one(void **state)
{
	static const int64_t hour = 60, day = 24 * 60;
	const int64_t monday = 1772409600 / 60; /* 2026-03-02 00:00 UTC */

	(void)state;
	assert_int_equal(next("* * * * *", monday, monday + 1), monday);
	assert_int_equal(next("0 8 * * 1-5", monday, monday + day),
			 monday + 8 * hour);
	assert_int_equal(next("0 8 * * 1-5", monday + 8 * hour, monday + day),
			 monday + 8 * hour);
	assert_int_equal(
		next("0 8 * * 1-5", monday + 8 * hour + 1, monday + 7 * day),
		monday + day + 8 * hour);
	/* Over a weekend, and no further than asked. */
	assert_int_equal(
		next("59 23 * * 1-5", monday + 5 * day, monday + 14 * day),
		monday + 7 * day + 24 * hour - 1);
	assert_int_equal(
		next("59 23 * * 1-5", monday + 5 * day, monday + 6 * day),
		monday + 6 * day);
	/* Never. */
	assert_int_equal(next("0 0 30 2 *", monday, monday + 400 * day),
			 monday + 400 * day);
	assert_int_equal(next("0 0 * * *", monday, monday), monday);
}

/* The same as by looking at each minute, also where a clock is changed. */
static void the_next_one_where_clocks_are_changed(void **state)
{
	static const char *const crons[] = {"30 2 * * *", "0 3 * * *",
					    "15,45 1-3 29 3 *", "0 0 * * 0"};
	const int64_t from = 1774656000 / 60; /* 2026-03-28 00:00 UTC */

	(void)state;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	for (size_t i = 0; i < ARRAY_LEN(crons); i++) {
		struct cron c;

		assert_int_equal(cron_parse(&c, crons[i], NULL), 0);
		for (int64_t m = from; m < from + 3 * 24 * 60; m += 7) {
			int64_t by_minute = m, before = m + 2 * 24 * 60;

			for (; by_minute < before; by_minute++) {
				time_t t = (time_t)(by_minute * 60);
				struct tm tm;

				localtime_r(&t, &tm);
				if (cron_matches(&c, &tm))
					break;
			}
			assert_int_equal(cron_next(&c, m, before), by_minute);
		}
	}
	setenv("TZ", "UTC", 1);
	tzset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_that_are_named),
		cmocka_unit_test(what_is_wrong),
		cmocka_unit_test(the_next_one),
		cmocka_unit_test(the_next_one_where_clocks_are_changed),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
