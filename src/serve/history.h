/* history.h: an api's revisions, those that are gone too: what made each, when
 * it went live, why it failed. The newest are kept, as the store keeps them. */
#ifndef SERVE_HISTORY_H
#define SERVE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/json.h"
#include "store/store.h"

struct api;

struct history_row {
	int64_t number;
	int64_t created_ms, live_ms, failed_ms; /* Unix ms; 0: never */
	char *why, *origin, *project;		/* owned, or NULL */
};

/* In an api, zeroed. */
struct history {
	struct history_row *rows; /* owned; the oldest first */
	size_t n;
};

void history_fini(struct history *h);
/* Adds one that is newer than all others; the row is copied. */
void history_add(struct history *h, const struct store_revision *row);
const struct history_row *history_find(const struct history *h, int64_t number);
/* Notes it here and in the store. `back`: the revision that is asked for again
 * from now on, or 0. */
void history_live(struct api *a, int64_t number);
void history_failed(struct api *a, int64_t number, const char *why,
		    int64_t back);
/* The newest that was live before that one; NULL: there is none. */
const struct history_row *history_before(const struct history *h,
					 int64_t number);
/* REVISIONS of admin-api.md, the newest first; free() it. */
char *history_json(const struct api *a);
/* "rolled_back" of admin-api.md's API object: the newest revision, if it has
 * failed and an older one serves. */
void history_put(const struct api *a, yyjson_mut_doc *doc,
		 yyjson_mut_val *root);

#endif
