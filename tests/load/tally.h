/* tally.h: how a load went, counted and in words. */
#ifndef LOAD_TALLY_H
#define LOAD_TALLY_H

#include <stdint.h>

enum {
	TALLY_WORDS = 12, /* of what went wrong, told in full */
	TALLY_REVISIONS = 4096,
	/* Times, in steps of a sixteenth of their size. */
	TALLY_STEPS = 16,
	TALLY_TIMES = 40 * TALLY_STEPS,
};

struct tally {
	uint64_t asked, right;
	uint64_t streams, events;      /* right ones, to their ends */
	uint64_t refused, failed, cut; /* cut: a stream that had begun */
	uint64_t connections;
	unsigned calls_open, streams_open;
	uint64_t behind_us; /* what was due then is being asked now */
	/* private */
	uint32_t times[TALLY_TIMES];
	uint64_t longest_us;
	uint32_t by_revision[TALLY_REVISIONS];
	char words[TALLY_WORDS][400];
	unsigned n_words;
};

void tally_time(struct tally *t, uint64_t us);
void tally_revision(struct tally *t, unsigned revision);
/* What is not to be in a line of JSON is left out. */
void tally_say(struct tally *t, const char *words);
/* Times are measured anew. */
void tally_mark(struct tally *t);
/* Prints it as a line of JSON. */
void tally_report(struct tally *t);

#endif
