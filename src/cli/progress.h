/* progress.h: what one api's events say of its rollout. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/stream.h"
#include "core/json.h"

enum progress_state {
	PROGRESS_RUNNING,
	PROGRESS_LIVE,
	PROGRESS_FAILED,
};

struct progress_replica {
	char *id;   /* owned */
	char *text; /* owned; "importing predictor.py" */
	bool ready;
};

struct progress {
	char *name, *kind, *change, *url; /* owned */
	int64_t revision;
	enum progress_state state;
	char *cause;	   /* owned; why it failed */
	char *log;	   /* owned; JSON array of last lines, or NULL */
	char *sample;	   /* owned; a curl to paste, or NULL */
	char *environment; /* owned; the last word on it, or NULL */
	char *models;	   /* owned; the last word on them, or NULL */
	struct progress_replica *replicas; /* owned */
	size_t n_replicas;
	int64_t requested;
	char *watch; /* owned; it is live and watched: how it does; or NULL */
	int64_t serves; /* it failed, and this revision goes on; 0: none does */
	bool over;   /* nobody tries any more: deleted, or another took over */
	int64_t seq; /* of the last event */
	int64_t started_ms, ended_ms;

	/* of the follower */
	struct stream stream;
	int64_t lost_ms;  /* since when nothing is heard; 0: connected */
	int64_t look_ms;  /* when to ask for its state; 0: its events tell */
	int64_t watched;  /* requests that were seen by quiet_ms, ... */
	int64_t quiet_ms; /* ... when the last of them was */
	void *data;	  /* of the follower: its display */
};

/* From an entry of the deploy's answer. */
void progress_init(struct progress *r, yyjson_val *deployed);
void progress_fini(struct progress *r);

/* Takes one event in. False: it is about another revision, or old. */
bool progress_event(struct progress *r, yyjson_val *event);
void progress_end(struct progress *r, enum progress_state state,
		  const char *cause);
/* "live", "failed", "updating" */
const char *progress_word(const struct progress *r);
size_t progress_ready(const struct progress *r);

#endif
