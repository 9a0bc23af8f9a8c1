/* upload.h: sends the files of a project that the daemon lacks. */
#ifndef CLI_UPLOAD_H
#define CLI_UPLOAD_H

#include "cli/bundle.h"
#include "cli/display.h"

/* missing: array of hashes, each of some file of b. CLI_OK, or the exit code
 * with the reason printed. */
int upload_missing(struct admin *ad, const struct bundle *b,
		   yyjson_val *missing, struct display *d);

/* {"config_name", "config", "files": [...], "force"}; free() it. NULL: err is
 * set (the config is not text). */
char *upload_request(const struct bundle *b, bool force, size_t *ret_len,
		     struct err *err);

#endif
