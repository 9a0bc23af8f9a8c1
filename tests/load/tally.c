#include "tally.h"

#include <stdio.h>
#include <string.h>

void tally_time(struct tally *t, uint64_t us)
{
	unsigned top = 59 - (unsigned)__builtin_clzll(us | TALLY_STEPS);
	unsigned at = top * TALLY_STEPS + (unsigned)(us >> top) % TALLY_STEPS;

	/* Below the first step each has a place of its own. */
	if (us < TALLY_STEPS)
		at = (unsigned)us;
	else
		at += TALLY_STEPS;
	t->times[at < TALLY_TIMES ? at : TALLY_TIMES - 1]++;
	if (us > t->longest_us)
		t->longest_us = us;
}

void tally_mark(struct tally *t)
{
	memset(t->times, 0, sizeof t->times);
	t->longest_us = 0;
}

static uint64_t time_at(unsigned at)
{
	if (at < TALLY_STEPS)
		return at;
	return (uint64_t)(TALLY_STEPS + at % TALLY_STEPS)
	       << (at / TALLY_STEPS - 1);
}

/* That share of all answers took no longer, in microseconds. */
static uint64_t quantile(const struct tally *t, double share)
{
	uint64_t n = 0, sum = 0;
	unsigned at;

	for (at = 0; at < TALLY_TIMES; at++)
		n += t->times[at];
	for (at = 0; at < TALLY_TIMES - 1; at++) {
		sum += t->times[at];
		if ((double)sum >= share * (double)n)
			break;
	}
	return n ? time_at(at) : 0;
}

void tally_revision(struct tally *t, unsigned revision)
{
	t->by_revision[revision % TALLY_REVISIONS]++;
}

static unsigned revisions(const struct tally *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TALLY_REVISIONS; i++)
		n += t->by_revision[i] > 0;
	return n;
}

void tally_say(struct tally *t, const char *words)
{
	char *to;

	if (t->n_words == TALLY_WORDS)
		return;
	to = t->words[t->n_words++];
	snprintf(to, sizeof t->words[0], "%s", words);
	for (; *to; to++)
		if (*to == '"' || *to == '\\' || (unsigned char)*to < ' ')
			*to = '`';
}

static void number(const char *name, uint64_t n)
{
	printf("\"%s\": %llu, ", name, (unsigned long long)n);
}

void tally_report(struct tally *t)
{
	putchar('{');
	number("asked", t->asked);
	number("right", t->right);
	number("streams", t->streams);
	number("events", t->events);
	number("refused", t->refused);
	number("failed", t->failed);
	number("cut", t->cut);
	number("connections", t->connections);
	number("calls_open", t->calls_open);
	number("streams_open", t->streams_open);
	number("behind_us", t->behind_us);
	number("revisions", revisions(t));
	number("median_us", quantile(t, 0.5));
	number("p99_us", quantile(t, 0.99));
	number("longest_us", t->longest_us);
	printf("\"words\": [");
	for (unsigned i = 0; i < t->n_words; i++)
		printf("%s\"%s\"", i ? ", " : "", t->words[i]);
	puts("]}");
	fflush(stdout);
}
