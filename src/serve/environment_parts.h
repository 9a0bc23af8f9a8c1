/* environment_parts.h: what the files of environments share among themselves.
 */
#ifndef SERVE_ENVIRONMENT_PARTS_H
#define SERVE_ENVIRONMENT_PARTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/err.h"
#include "core/sha256.h"
#include "serve/environment.h"

/* The first python3 of PATH that user uid can get to (0: any); free() it. */
int interpreter__any(uid_t uid, char **ret, struct err *err);
/* predictor.python: the path of an interpreter or of a virtual environment,
 * absolute or in the project; or a bare name, looked up where interpreters are
 * installed. free() it. */
int interpreter__named(const char *name, const char *project_dir, uid_t uid,
		       char **ret, bool *ret_venv, struct err *err);

/* Whether a requirements file has nothing but comments. */
bool environment__asks_nothing(const char *requirements);

/* The key of what is built: two environments of one key are the same. */
int environment__hash(const struct environment *env, char out[SHA256_HEX],
		      struct err *err);

#endif
