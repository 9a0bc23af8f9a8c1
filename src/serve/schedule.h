/* schedule.h: times at which an api has no fewer replicas than so many. */
#ifndef SERVE_SCHEDULE_H
#define SERVE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cron.h"

struct schedule_item {
	struct cron cron;
	int64_t minutes; /* that it holds, from each minute it names */
	uint32_t min_replicas;
	/* private: minutes since 1970: so it is in them, the end excluded */
	bool is_on;
	int64_t from, until;
};

struct schedule {
	struct schedule_item *items; /* owned */
	size_t n;
};

/* From a spec's schedule_json, which may be NULL. */
void schedule_init(struct schedule *s, const char *json);
void schedule_fini(struct schedule *s);
/* The most that any item asks for at that time (seconds since 1970, taken as
 * local time); 0: none does. *ret_until: it is the same until then. */
uint32_t schedule_floor(struct schedule *s, int64_t now_s, int64_t *ret_until);

#endif
