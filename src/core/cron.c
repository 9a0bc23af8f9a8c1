#include "core/cron.h"

#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "core/str.h"

struct field {
	const char *name;
	unsigned min, max;
	const char *const *words; /* of min, min + 1, ...; NULL: none */
	size_t n_words;
};

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun",
				     "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed",
				       "thu", "fri", "sat"};

enum { FIELDS = 5 };
static const struct field fields[FIELDS] = {
	{"minute", 0, 59, NULL, 0},
	{"hour", 0, 23, NULL, 0},
	{"day of the month", 1, 31, NULL, 0},
	{"month", 1, 12, months, ARRAY_LEN(months)},
	{"day of the week", 0, 7, weekdays, ARRAY_LEN(weekdays)},
};

static bool read_number(const struct field *f, struct str s, unsigned *ret)
{
	uint64_t v;

	for (size_t i = 0; i < f->n_words; i++)
		if (str_ieq(s, str_of(f->words[i]))) {
			*ret = f->min + (unsigned)i;
			return true;
		}
	if (!str_u64(s, &v) || v < f->min || v > f->max)
		return false;
	*ret = (unsigned)v;
	return true;
}

/* What is before `c` in *s, which is then what comes behind it. */
static struct str cut(struct str *s, char c)
{
	const char *at = s->n ? memchr(s->p, c, s->n) : NULL;
	size_t n = at ? (size_t)(at - s->p) : s->n;
	struct str head = {s->p, n};

	s->p += n + (at != NULL);
	s->n -= n + (at != NULL);
	return head;
}

/* "8-18/2" */
static bool read_item(const struct field *f, struct str item, uint64_t *bits)
{
	bool stepped = item.n && memchr(item.p, '/', item.n);
	struct str step = item, range = cut(&step, '/'), high = range;
	struct str low = cut(&high, '-');
	unsigned from = f->min, to = f->max;
	uint64_t by = 1;

	if (stepped && (!str_u64(step, &by) || !by || by > f->max))
		return false;
	if (!str_eq(range, STR("*"))) {
		if (!read_number(f, low, &from))
			return false;
		/* A number alone with a step goes on to the end. */
		to = stepped ? f->max : from;
		if (low.n != range.n && !read_number(f, high, &to))
			return false;
	}
	if (from > to)
		return false;
	for (uint64_t i = from; i <= to; i += by)
		*bits |= UINT64_C(1) << i;
	return true;
}

static bool read_field(const struct field *f, struct str text, uint64_t *bits)
{
	bool last;

	*bits = 0;
	do {
		struct str item;

		last = !memchr(text.p, ',', text.n);
		item = cut(&text, ',');
		if (!item.n || !read_item(f, item, bits))
			return false;
	} while (!last && text.n);
	return last;
}

int cron_parse(struct cron *ret, const char *text, struct err *err)
{
	struct str words[FIELDS];
	uint64_t bits[FIELDS];
	size_t n = 0;

	for (const char *p = text; *p;) {
		size_t blanks = strspn(p, " \t"), len;

		p += blanks;
		len = strcspn(p, " \t");
		if (len && n < FIELDS)
			words[n] = (struct str){p, len};
		n += len > 0;
		p += len;
	}
	if (n != FIELDS)
		return err_set(err, E_INVALID,
			       "has %zu fields, not 5: minute, hour, day of "
			       "the month, month, day of the week",
			       n);
	for (size_t i = 0; i < FIELDS; i++)
		if (!read_field(&fields[i], words[i], &bits[i]))
			return err_set(
				err, E_INVALID,
				"its %s '%.*s' is not made of numbers from %u "
				"to %u, such as *, 5, 1-5 or */2",
				fields[i].name, (int)MIN(words[i].n, 40u),
				words[i].p, fields[i].min, fields[i].max);
	*ret = (struct cron){
		.minutes = bits[0],
		.hours = (uint32_t)bits[1],
		.days = (uint32_t)bits[2],
		.months = (uint32_t)bits[3],
		.weekdays = (uint32_t)(bits[4] | bits[4] >> 7),
		.any_day = str_eq(words[2], STR("*")),
		.any_weekday = str_eq(words[4], STR("*")),
	};
	return 0;
}

static bool names_hour(const struct cron *c, const struct tm *tm)
{
	bool day = c->days >> tm->tm_mday & 1;
	bool weekday = c->weekdays >> tm->tm_wday & 1;

	if (!(c->hours >> tm->tm_hour & 1) ||
	    !(c->months >> (tm->tm_mon + 1) & 1))
		return false;
	return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

bool cron_matches(const struct cron *c, const struct tm *tm)
{
	return (c->minutes >> tm->tm_min & 1) && names_hour(c, tm);
}

/* Minutes until one can be named, or the hour is over. */
static int64_t to_next(const struct cron *c, const struct tm *tm)
{
	int m = names_hour(c, tm) ? tm->tm_min : 60;

	while (m < 60 && !(c->minutes >> m & 1))
		m++;
	return m - tm->tm_min;
}

int64_t cron_next(const struct cron *c, int64_t minute, int64_t before)
{
	while (minute < before) {
		time_t t = (time_t)(minute * 60);
		struct tm tm;
		int64_t steps;

		if (!localtime_r(&t, &tm))
			break;
		steps = to_next(c, &tm);
		if (!steps)
			return minute;
		minute += steps;
	}
	return before;
}
