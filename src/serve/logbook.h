/* logbook.h: the output of an api's replicas: the newest lines in memory, more
 * in rotated files. */
#ifndef SERVE_LOGBOOK_H
#define SERVE_LOGBOOK_H

#include "core/str.h"
#include "loop/logfile.h"
#include "serve/feed.h"

enum {
	LOGBOOK_FILE_BYTES = 8 << 20, /* a file grows to this ... */
	LOGBOOK_FILES = 4,	      /* ... and so many are kept */
};

struct logbook {
	struct feed feed;
	struct logfile file; /* its on_full may be set by the owner */
	void (*on_closed)(struct logbook *b); /* private */
};

/* DATA/logs/API.jsonl */
void logbook_init(struct logbook *b, uv_loop_t *loop, const char *data_dir,
		  const char *api);
/* What is pending is written first; then on_closed (perhaps before this
 * returns), and the memory is the owner's. */
void logbook_close(struct logbook *b, void (*on_closed)(struct logbook *b));
/* {"time","replica","request_id"?,"line"}; request_id.n == 0: none. */
void logbook_add(struct logbook *b, const char *replica, struct str request_id,
		 struct str line);
/* The newest n lines of one replica (all if NULL), as a JSON array; free() it.
 */
char *logbook_tail(const struct logbook *b, const char *replica, size_t n);

#endif
