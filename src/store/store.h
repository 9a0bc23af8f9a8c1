/* store.h: what must outlive the daemon: apis, revisions, events, secrets
 * (SQLite), on one thread of its own. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/err.h"

struct store;

/* Rows. Strings are borrowed for the length of the call they are given to. */
struct store_api {
	const char *name;
	int64_t revision; /* the one asked for */
	int64_t uid;	  /* unprivileged user of its replicas; 0: none given */
	bool deleting;
	int64_t updated_ms;    /* wall clock, Unix ms */
	const char *spec_json; /* of that revision, spec_to_json's */
	const char *project;   /* hash of that revision's project; NULL: none */
	const char *origin;    /* what made that revision, for its history:
				  "deploy",    "rollback to 3"; not loaded */
	/* Loaded only: the newest revision that was live, when it is another
	 * than the one asked for; 0 and NULL else. */
	int64_t live;
	const char *live_spec_json, *live_project;
	const char *scale_json; /* what store_keep_scale kept; NULL: nothing */
	int64_t newest; /* loaded only: the highest number that was given */
};

/* A revision that is kept, and what became of it. Times are Unix ms, 0: never.
 */
struct store_revision {
	const char *api;
	int64_t number;
	int64_t created_ms, live_ms, failed_ms;
	const char *why;       /* it failed; or NULL */
	const char *origin;    /* or NULL: an older Soma made it */
	const char *project;   /* or NULL */
	const char *spec_json; /* of store_read_revision only */
};

struct store_event {
	const char *api;
	int64_t seq; /* per api, from 1, given by the caller, increasing */
	int64_t time_ms;
	int64_t revision;
	const char *type;
	const char *replica; /* or NULL */
	const char *text;
	const char *log_json; /* JSON array of lines, or NULL */
};

struct store_secret {
	const char *name;
	const char *value;
	int64_t updated_ms;
};

/* Opens DIR/state.db (mode 0600; WAL, synchronous=FULL, foreign keys), brings
 * its schema up to date by numbered migrations, refuses a newer one. Blocks:
 * for start-up only. */
int store_open(struct store **ret, uv_loop_t *loop, const char *dir,
	       struct err *err);
/* Everything queued is committed first, then closed_cb on the loop, then the
 * store is freed. */
void store_close(struct store *s, void (*closed_cb)(void *data), void *data);
/* The same, for another daemon to open it, but s is not freed: what is asked of
 * it later is refused. store_close frees it. */
void store_leave(struct store *s, void (*closed_cb)(void *data), void *data);
/* Whether DIR/state.db, if it is there, can be read by this program, or brought
 * up to date. Changes nothing, and may be asked while another has it open. */
int store_check(const char *dir, struct err *err);

/* Reads all rows, in a stable order. Block: for start-up only. Events: at most
 * the newest 200 of each api, oldest first. */
int store_load_apis(struct store *s,
		    void (*row)(void *data, const struct store_api *a),
		    void *data, struct err *err);
int store_load_events(struct store *s,
		      void (*row)(void *data, const struct store_event *e),
		      void *data, struct err *err);
/* Those of an api from the oldest to the newest. */
int store_load_revisions(struct store *s,
			 void (*row)(void *data,
				     const struct store_revision *r),
			 void *data, struct err *err);
int store_load_secrets(struct store *s,
		       void (*row)(void *data, const struct store_secret *v),
		       void *data, struct err *err);

/* Writes. Arguments are copied. They run in order on the store thread, as
 * many as are waiting in one transaction (group commit); `done` comes on the
 * loop once the change is durable, or with an error (E_NOSPACE for a full disk,
 * nothing changed by this write then). done may be NULL: a failure is then
 * logged. */
typedef void store_done(void *data, const struct err *err /* NULL: durable */);
/* Inserts or replaces the api and adds the revision (kept: the newest 20 of an
 * api). */
void store_put_api(struct store *s, const struct store_api *a, store_done *done,
		   void *data);
/* The revision is the newest that was live. Nothing happens when the api is
 * gone. */
void store_mark_live(struct store *s, const char *api, int64_t revision);
/* It failed, for that reason. With `back` > 0 that revision is the one asked
 * for from now on, unless another is by now. */
void store_mark_failed(struct store *s, const char *api, int64_t revision,
		       const char *why, int64_t back);
/* E_NOTFOUND: it is not kept any more. The row is borrowed for the call. */
typedef void store_revision_done(void *data, const struct err *err,
				 const struct store_revision *r);
void store_read_revision(struct store *s, const char *api, int64_t number,
			 store_revision_done *done, void *data);
/* What its number of replicas goes by, as JSON. Nothing happens when the api is
 * gone. */
void store_keep_scale(struct store *s, const char *api, const char *json,
		      store_done *done, void *data);
/* From then on a put of the api fails with E_CONFLICT, until it is removed. */
void store_mark_deleting(struct store *s, const char *api, store_done *done,
			 void *data);
/* Removes the api, its revisions and events. */
void store_remove_api(struct store *s, const char *api, store_done *done,
		      void *data);
/* Keeps the newest 1000 of an api. Written within 50 ms, or with what is
 * written before. */
void store_add_event(struct store *s, const struct store_event *e);
void store_put_secret(struct store *s, const struct store_secret *v,
		      store_done *done, void *data);
void store_remove_secret(struct store *s, const char *name, store_done *done,
			 void *data);

#endif
