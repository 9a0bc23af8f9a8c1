/* seen.h: where an api's requests are, and what its slots do: for people and
 * their dashboards. */
#ifndef SERVE_SEEN_H
#define SERVE_SEEN_H

#include <stdint.h>

#include "serve/api.h"

/* Where requests are now. */
enum seen_stage {
	SEEN_QUEUE,   /* in the gate */
	SEEN_PRE,     /* in a replica: in pre_predict, ... */
	SEEN_READY,   /* ... waiting for a slot or a batch, ... */
	SEEN_PREDICT, /* ... in a slot, ... */
	SEEN_POST,    /* ... answered, and in post_predict */
	SEEN_REPLICA, /* a command has it, and does not say where */
	SEEN_ANSWER,  /* on its way to a client that has not taken all of it */
	SEEN_STAGES,
};
extern const char *const seen_words[SEEN_STAGES];

struct seen {
	uint32_t stages[SEEN_STAGES];
	uint32_t slots; /* of ready replicas; 0: none, or a command's */
	/* Of the time that these had in the last WORK_SECONDS, the part in
	 * which they ran predict; below 0: not known. */
	double busy;
};
struct seen seen_of(const struct api *a);
/* The same part for one replica. */
double seen_busy(const struct replica *r);

/* Whether its replicas run in slots, and say so: all but commands do. */
bool seen_has_slots(const struct api *a);
/* Whether its requests can be there. */
bool seen_has_stage(const struct api *a, enum seen_stage stage);
/* Whether its requests run in batches. */
bool seen_has_batches(const struct api *a);
/* How long slots ran predict since the daemon's start. Never shrinks. */
uint64_t seen_busy_ns(struct api *a);

#endif
