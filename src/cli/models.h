/* models.h: what the files of `soma models` share. */
#ifndef CLI_MODELS_H
#define CLI_MODELS_H

#include "cli/admin.h"
#include "cli/display.h"
#include "cli/output.h"

/* Has the daemon fetch a model, and shows how far it is. The exit code. */
int models__pull(struct admin *ad, const char *url, enum output output);

/* Reads a model, or all for NULL, again, and shows how far it is and what was
 * found. The exit code. */
int models__verify(struct admin *ad, const char *url, enum output output);

/* What the daemon says while it is at a model. */
struct models_progress {
	struct display d;
	const char *what; /* borrowed: its name */
	int64_t said_ms;  /* where lines stay: when the last was said */
	bool (*is_end)(const char *state); /* of a line: it is the last */
	yyjson_doc *last;		   /* owned: that one */
};
/* Posts the body, and shows {"state","done","total","rate"} line by line: a bar
 * with numbers where lines can be redrawn, else a line now and then. CLI_OK:
 * p->last is there, which is the caller's to free. Else why it is not was told,
 * with `again` for when the daemon has ended. */
int models__follow(struct models_progress *p, struct admin *ad,
		   const char *path, const char *body, enum output output,
		   const char *again);

/* {"url": URL}, or "" for NULL; mem_printf. */
char *models__body(const char *url);

#endif
