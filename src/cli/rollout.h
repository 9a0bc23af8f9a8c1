/* rollout.h: what one api's events say of its rollout. */
#ifndef CLI_ROLLOUT_H
#define CLI_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/stream.h"
#include "core/json.h"

enum rollout_state {
	ROLLOUT_RUNNING,
	ROLLOUT_LIVE,
	ROLLOUT_FAILED,
};

struct rollout_replica {
	char *id;   /* owned */
	char *text; /* owned; "importing predictor.py" */
	bool ready;
};

struct rollout {
	char *name, *kind, *change, *url; /* owned */
	int64_t revision;
	enum rollout_state state;
	char *cause;	   /* owned; why it failed */
	char *log;	   /* owned; JSON array of last lines, or NULL */
	char *sample;	   /* owned; a curl to paste, or NULL */
	char *environment; /* owned; the last word on it, or NULL */
	char *models;	   /* owned; the last word on them, or NULL */
	struct rollout_replica *replicas; /* owned */
	size_t n_replicas;
	int64_t requested;
	int64_t serves; /* it failed, and this revision goes on; 0: none does */
	bool over;   /* nobody tries any more: deleted, or another took over */
	int64_t seq; /* of the last event */
	int64_t started_ms, ended_ms;

	/* of the follower */
	struct stream stream;
	int64_t lost_ms; /* since when nothing is heard; 0: connected */
	int64_t look_ms; /* when to ask for its state; 0: its events tell */
	void *data;	 /* of the follower: its display */
};

/* From an entry of the deploy's answer. */
void rollout_init(struct rollout *r, yyjson_val *deployed);
void rollout_fini(struct rollout *r);

/* Takes one event in. False: it is about another revision, or old. */
bool rollout_event(struct rollout *r, yyjson_val *event);
void rollout_end(struct rollout *r, enum rollout_state state,
		 const char *cause);
/* "live", "failed", "updating" */
const char *rollout_word(const struct rollout *r);
size_t rollout_ready(const struct rollout *r);

#endif
