/* secret.h: values that predictors get as environment; in memory as in the
 * store, never printed. */
#ifndef SERVE_SECRET_H
#define SERVE_SECRET_H

#include <stdint.h>

#include "core/map.h"

struct secret {
	char *value; /* owned; overwritten before it is freed */
	int64_t updated_ms;
};

/* Sets or replaces; copies. */
void secret_set(struct map *secrets, const char *name, const char *value,
		int64_t updated_ms);
void secret_remove(struct map *secrets, const char *name);
void secrets_fini(struct map *secrets);

#endif
