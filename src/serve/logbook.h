/* logbook.h: the output of an api's replicas: the newest lines in memory, more
 * in rotated files. */
#ifndef SERVE_LOGBOOK_H
#define SERVE_LOGBOOK_H

#include <stdbool.h>
#include <uv.h>

#include "core/buf.h"
#include "core/str.h"
#include "serve/feed.h"

enum {
	LOGBOOK_FILE_BYTES = 8 << 20, /* a file grows to this ... */
	LOGBOOK_FILES = 4,	      /* ... and so many are kept */
	LOGBOOK_PENDING = 1
			  << 20, /* more waiting for the disk: readers pause */
};

struct logbook {
	struct feed feed;
	uv_loop_t *loop;
	void (*on_closed)(struct logbook *b); /* private */
	char *path;	    /* owned: DATA/logs/API.jsonl; .1 ... are older */
	struct buf pending; /* private: to be written */
	struct buf writing; /* private: being written on the pool */
	uv_work_t work;
	bool busy;
	bool closing;
	int result; /* of the last write: 0 or -errno */
	bool complained;
	/* Too much waits for the disk, or no longer. */
	void (*on_full)(struct logbook *b, bool full);
	bool full;
};

void logbook_init(struct logbook *b, uv_loop_t *loop, const char *data_dir,
		  const char *api);
/* What is pending is written first; then on_closed, and the memory is the
 * owner's. */
void logbook_close(struct logbook *b, void (*on_closed)(struct logbook *b));
/* {"time","replica","request_id"?,"line"}; request_id.n == 0: none. */
void logbook_add(struct logbook *b, const char *replica, struct str request_id,
		 struct str line);
/* The newest n lines of one replica (all if NULL), as a JSON array; free() it.
 */
char *logbook_tail(const struct logbook *b, const char *replica, size_t n);

#endif
