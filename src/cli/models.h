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

/* A bar with numbers where lines can be redrawn, else a line now and then. */
struct models_progress {
	struct display d;
	const char *what; /* borrowed: its name */
	int64_t said_ms;  /* where lines stay: when the last was said */
};
/* Shows {"state","done","total","rate"}. */
void models__progress(struct models_progress *p, yyjson_val *line);

/* {"url": URL}, or "" for NULL; mem_printf. */
char *models__body(const char *url);

#endif
