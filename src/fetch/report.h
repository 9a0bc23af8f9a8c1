/* report.h: what `soma fetch` says on standard output: an object a line. */
#ifndef FETCH_REPORT_H
#define FETCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "fetch/failure.h"
#include "store/shelf.h"

struct report {
	int64_t said_ms;  /* when progress was said last */
	int64_t begun_ms; /* of the fetching; 0: not yet */
	uint64_t begun;	  /* bytes that were there then */
	/* Of the last seconds: what rate is made of. */
	int64_t mark_ms;
	uint64_t mark;
	double rate; /* bytes a second */
};

/* The monotonic clock. */
int64_t report_now_ms(void);

void report_listing(struct report *r);
/* At most four of these a second are written. total 0: not known. True when the
 * line was written. */
bool report_fetching(struct report *r, uint64_t done, uint64_t total);
bool report_verifying(struct report *r, uint64_t done, uint64_t total);
/* state: "ready" or "same". */
void report_ready(struct report *r, const char *state, const struct shelf *s,
		  const struct shelf_ref *ref);
void report_changed(struct report *r);
void report_failed(struct report *r, const struct failure *why);

#endif
