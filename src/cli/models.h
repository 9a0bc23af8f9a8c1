/* models.h: what the files of `soma models` share. */
#ifndef CLI_MODELS_H
#define CLI_MODELS_H

#include "cli/admin.h"
#include "cli/output.h"

/* Has the daemon fetch a model, and shows how far it is. The exit code. */
int models__pull(struct admin *ad, const char *url, enum output output);

/* {"url": URL}, or "" for NULL; mem_printf. */
char *models__body(const char *url);

#endif
