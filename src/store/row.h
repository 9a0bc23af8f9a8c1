/* row.h: each write and read of the store as SQL. For the store folder. */
#ifndef STORE_ROW_H
#define STORE_ROW_H

#include "store/db.h"
#include "store/store.h"

/* Inside a transaction of the caller, who rolls back on failure. */
int row__put_api(struct db *db, const struct store_api *a, struct err *err);
int row__mark_live(struct db *db, const char *api, int64_t revision,
		   int64_t now_ms, struct err *err);
int row__mark_failed(struct db *db, const struct store_revision *r,
		     int64_t back, struct err *err);
int row__keep_scale(struct db *db, const char *api, const char *json,
		    struct err *err);
int row__mark_deleting(struct db *db, const char *api, struct err *err);
int row__remove_api(struct db *db, const char *api, struct err *err);
int row__add_event(struct db *db, const struct store_event *e, struct err *err);
/* Keeps the newest 1000 events of an api: once a batch, not once an event. */
int row__trim_events(struct db *db, const char *api, struct err *err);
int row__put_secret(struct db *db, const struct store_secret *v,
		    struct err *err);
int row__remove_secret(struct db *db, const char *name, struct err *err);

int row__load_apis(struct db *db,
		   void (*row)(void *data, const struct store_api *a),
		   void *data, struct err *err);
int row__load_events(struct db *db,
		     void (*row)(void *data, const struct store_event *e),
		     void *data, struct err *err);
int row__load_revisions(struct db *db,
			void (*row)(void *data, const struct store_revision *r),
			void *data, struct err *err);
/* E_NOTFOUND: there is none. */
int row__read_revision(struct db *db, const char *api, int64_t number,
		       void (*row)(void *data, const struct store_revision *r),
		       void *data, struct err *err);
int row__load_secrets(struct db *db,
		      void (*row)(void *data, const struct store_secret *v),
		      void *data, struct err *err);

/* Events of apis that are gone, left by a write that came after the removal. */
int row__drop_strays(struct db *db, struct err *err);

#endif
