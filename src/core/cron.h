/* cron.h: minutes of the year by crontab's five fields: minute, hour, day of
 * the month, month, day of the week. */
#ifndef CORE_CRON_H
#define CORE_CRON_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "core/err.h"

struct cron {
	uint64_t minutes;
	uint32_t hours, days, months, weekdays; /* bits; Sunday is 0 */
	bool any_day, any_weekday;		/* '*' */
};

/* Each field is a list of numbers, ranges (8-18) or '*', each with a step
 * (8-18/2) where one is wanted; months and days of the week also by their first
 * three letters, Sunday also as 7. E_INVALID: err says which field. */
int cron_parse(struct cron *ret, const char *text, struct err *err);
/* Whether it is such a minute. Where day of the month and of the week are both
 * said, either will do, as in crontab. */
bool cron_matches(const struct cron *c, const struct tm *tm);
/* The first of them from `minute` on (minutes since 1970, taken as local time),
 * or `before` where none comes before that. A step for each hour, no more. */
int64_t cron_next(const struct cron *c, int64_t minute, int64_t before);

#endif
