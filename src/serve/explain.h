/* explain.h: why an api has as many replicas as it has, for people. */
#ifndef SERVE_EXPLAIN_H
#define SERVE_EXPLAIN_H

#include "core/json.h"
#include "serve/api.h"

/* EXPLANATION of admin-api.md: what was decided last, from which numbers, and
 * what would change it. Asks nobody anything. free() it. */
char *explain_json(const struct api *a);

#endif
