#include "store/row.h"

enum { KEEP_REVISIONS = 20, KEEP_EVENTS = 1000, LOAD_EVENTS = 200 };

enum stmt {
	PUT_API,
	PUT_REVISION,
	TRIM_REVISIONS,
	MARK_LIVE,
	MARK_REVISION_LIVE,
	MARK_FAILED,
	GO_BACK,
	KEEP_SCALE,
	MARK_DELETING,
	REMOVE_API,
	REMOVE_EVENTS,
	ADD_EVENT,
	TRIM_EVENTS,
	PUT_SECRET,
	REMOVE_SECRET,
	LOAD_APIS,
	LOAD_EVENTS_OF_ALL,
	LOAD_SECRETS,
	LOAD_REVISIONS,
	READ_REVISION,
	N_STMTS,
};

_Static_assert((int)N_STMTS <= (int)DB_STMTS, "room for every statement");

static int put_revision(struct db *db, const struct store_api *a,
			struct err *err)
{
	sqlite3_stmt *st;
	int rc;

	st = db__stmt(db, PUT_REVISION,
		      "INSERT INTO revisions"
		      "(api, revision, created_ms, spec, project, origin)"
		      " VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
		      " ON CONFLICT(api, revision) DO UPDATE SET"
		      " spec = excluded.spec, project = excluded.project",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, a->name);
	db__bind_int(st, 2, a->revision);
	db__bind_int(st, 3, a->updated_ms);
	db__bind_text(st, 4, a->spec_json);
	db__bind_text(st, 5, a->project);
	db__bind_text(st, 6, a->origin);
	rc = db__run(db, st, err);
	if (rc != 0)
		return rc;

	/* The one asked for and the live one stay even when they are older
	 * than the newest 20. */
	st = db__stmt(db, TRIM_REVISIONS,
		      "DELETE FROM revisions WHERE api = ?1"
		      " AND revision <> ?2 AND revision <> ("
		      "  SELECT live FROM apis WHERE name = ?1)"
		      " AND revision <= ("
		      "  SELECT revision FROM revisions WHERE api = ?1"
		      "  ORDER BY revision DESC LIMIT 1 OFFSET ?3)",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, a->name);
	db__bind_int(st, 2, a->revision);
	db__bind_int(st, 3, KEEP_REVISIONS);
	return db__run(db, st, err);
}

int row__put_api(struct db *db, const struct store_api *a, struct err *err)
{
	sqlite3_stmt *st;
	int rc;

	st = db__stmt(db, PUT_API,
		      "INSERT INTO apis"
		      "(name, revision, uid, deleting, updated_ms)"
		      " VALUES(?1, ?2, ?3, ?4, ?5)"
		      " ON CONFLICT(name) DO UPDATE SET"
		      " revision = excluded.revision, uid = excluded.uid,"
		      " updated_ms = excluded.updated_ms"
		      " WHERE deleting = 0",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, a->name);
	db__bind_int(st, 2, a->revision);
	db__bind_int(st, 3, a->uid);
	db__bind_int(st, 4, a->deleting);
	db__bind_int(st, 5, a->updated_ms);
	rc = db__run(db, st, err);
	if (rc == 0 && sqlite3_changes(db->conn) == 0)
		return err_set(err, E_CONFLICT, "%s is being deleted", a->name);
	return rc != 0 ? rc : put_revision(db, a, err);
}

static int run_with_name(struct db *db, enum stmt number, const char *sql,
			 const char *name, struct err *err)
{
	sqlite3_stmt *st = db__stmt(db, (int)number, sql, err);

	if (!st)
		return err->code;
	db__bind_text(st, 1, name);
	return db__run(db, st, err);
}

int row__mark_live(struct db *db, const char *api, int64_t revision,
		   int64_t now_ms, struct err *err)
{
	sqlite3_stmt *st;
	int rc;

	st = db__stmt(db, MARK_LIVE,
		      "UPDATE apis SET live = ?2 WHERE name = ?1", err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, api);
	db__bind_int(st, 2, revision);
	rc = db__run(db, st, err);
	if (rc != 0)
		return rc;
	/* It may have failed before: what counts is how it went on. */
	st = db__stmt(db, MARK_REVISION_LIVE,
		      "UPDATE revisions SET live_ms = ?3, failed_ms = 0,"
		      " why = NULL WHERE api = ?1 AND revision = ?2",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, api);
	db__bind_int(st, 2, revision);
	db__bind_int(st, 3, now_ms);
	return db__run(db, st, err);
}

int row__mark_failed(struct db *db, const struct store_revision *r,
		     int64_t back, struct err *err)
{
	sqlite3_stmt *st;
	int rc;

	st = db__stmt(db, MARK_FAILED,
		      "UPDATE revisions SET failed_ms = ?3, why = ?4"
		      " WHERE api = ?1 AND revision = ?2",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, r->api);
	db__bind_int(st, 2, r->number);
	db__bind_int(st, 3, r->failed_ms);
	db__bind_text(st, 4, r->why);
	rc = db__run(db, st, err);
	if (rc != 0 || back <= 0)
		return rc;
	st = db__stmt(db, GO_BACK,
		      "UPDATE apis SET revision = ?3"
		      " WHERE name = ?1 AND revision = ?2 AND EXISTS("
		      "  SELECT 1 FROM revisions"
		      "  WHERE api = ?1 AND revision = ?3)",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, r->api);
	db__bind_int(st, 2, r->number);
	db__bind_int(st, 3, back);
	return db__run(db, st, err);
}

int row__keep_scale(struct db *db, const char *api, const char *json,
		    struct err *err)
{
	sqlite3_stmt *st;

	st = db__stmt(db, KEEP_SCALE,
		      "UPDATE apis SET scale = ?2 WHERE name = ?1", err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, api);
	db__bind_text(st, 2, json);
	return db__run(db, st, err);
}

int row__mark_deleting(struct db *db, const char *api, struct err *err)
{
	int rc = run_with_name(db, MARK_DELETING,
			       "UPDATE apis SET deleting = 1 WHERE name = ?1",
			       api, err);

	if (rc == 0 && sqlite3_changes(db->conn) == 0)
		return err_set(err, E_NOTFOUND, "no api '%s' in the store",
			       api);
	return rc;
}

int row__remove_api(struct db *db, const char *api, struct err *err)
{
	/* Its revisions go with it: ON DELETE CASCADE. */
	int rc = run_with_name(db, REMOVE_API,
			       "DELETE FROM apis WHERE name = ?1", api, err);

	if (rc != 0)
		return rc;
	return run_with_name(db, REMOVE_EVENTS,
			     "DELETE FROM events WHERE api = ?1", api, err);
}

int row__add_event(struct db *db, const struct store_event *e, struct err *err)
{
	sqlite3_stmt *st;

	st = db__stmt(db, ADD_EVENT,
		      "INSERT OR REPLACE INTO events"
		      "(api, seq, time_ms, revision, type, replica, text, log)"
		      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, e->api);
	db__bind_int(st, 2, e->seq);
	db__bind_int(st, 3, e->time_ms);
	db__bind_int(st, 4, e->revision);
	db__bind_text(st, 5, e->type);
	db__bind_text(st, 6, e->replica);
	db__bind_text(st, 7, e->text);
	db__bind_text(st, 8, e->log_json);
	return db__run(db, st, err);
}

int row__trim_events(struct db *db, const char *api, struct err *err)
{
	sqlite3_stmt *st;

	st = db__stmt(db, TRIM_EVENTS,
		      "DELETE FROM events WHERE api = ?1 AND seq <= ("
		      " SELECT seq FROM events WHERE api = ?1"
		      " ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, api);
	db__bind_int(st, 2, KEEP_EVENTS);
	return db__run(db, st, err);
}

int row__put_secret(struct db *db, const struct store_secret *v,
		    struct err *err)
{
	sqlite3_stmt *st;

	st = db__stmt(db, PUT_SECRET,
		      "INSERT OR REPLACE INTO secrets(name, value, updated_ms)"
		      " VALUES(?1, ?2, ?3)",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, v->name);
	db__bind_text(st, 2, v->value);
	db__bind_int(st, 3, v->updated_ms);
	return db__run(db, st, err);
}

int row__remove_secret(struct db *db, const char *name, struct err *err)
{
	int rc =
		run_with_name(db, REMOVE_SECRET,
			      "DELETE FROM secrets WHERE name = ?1", name, err);

	if (rc == 0 && sqlite3_changes(db->conn) == 0)
		return err_set(err, E_NOTFOUND, "no secret '%s'", name);
	return rc;
}

static const char *text(sqlite3_stmt *st, int column)
{
	return (const char *)sqlite3_column_text(st, column);
}

int row__load_apis(struct db *db,
		   void (*row)(void *data, const struct store_api *a),
		   void *data, struct err *err)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int rc;

	st = db__stmt(db, LOAD_APIS,
		      "SELECT a.name, a.revision, a.uid, a.deleting,"
		      " a.updated_ms, r.spec, r.project,"
		      " l.revision, l.spec, l.project, a.scale,"
		      " (SELECT max(revision) FROM revisions"
		      "  WHERE api = a.name)"
		      " FROM apis a JOIN revisions r"
		      " ON r.api = a.name AND r.revision = a.revision"
		      " LEFT JOIN revisions l ON l.api = a.name"
		      " AND l.revision = a.live AND a.live <> a.revision"
		      " ORDER BY a.name",
		      err);
	if (!st)
		return err->code;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_api a = {
			.name = text(st, 0),
			.revision = sqlite3_column_int64(st, 1),
			.uid = sqlite3_column_int64(st, 2),
			.deleting = sqlite3_column_int(st, 3) != 0,
			.updated_ms = sqlite3_column_int64(st, 4),
			.spec_json = text(st, 5),
			.project = text(st, 6),
			.live = sqlite3_column_int64(st, 7),
			.live_spec_json = text(st, 8),
			.live_project = text(st, 9),
			.scale_json = text(st, 10),
			.newest = sqlite3_column_int64(st, 11),
		};

		row(data, &a);
	}
	return rc == SQLITE_DONE ? 0 : db__fail(db, rc, err);
}

int row__load_events(struct db *db,
		     void (*row)(void *data, const struct store_event *e),
		     void *data, struct err *err)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int rc;

	st = db__stmt(db, LOAD_EVENTS_OF_ALL,
		      "SELECT e.api, e.seq, e.time_ms, e.revision, e.type,"
		      " e.replica, e.text, e.log FROM apis a, events e"
		      " WHERE e.api = a.name AND e.seq > coalesce(("
		      "  SELECT seq FROM events WHERE api = a.name"
		      "  ORDER BY seq DESC LIMIT 1 OFFSET ?1), 0)"
		      " ORDER BY e.api, e.seq",
		      err);
	if (!st)
		return err->code;
	db__bind_int(st, 1, LOAD_EVENTS);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_event e = {
			.api = text(st, 0),
			.seq = sqlite3_column_int64(st, 1),
			.time_ms = sqlite3_column_int64(st, 2),
			.revision = sqlite3_column_int64(st, 3),
			.type = text(st, 4),
			.replica = text(st, 5),
			.text = text(st, 6),
			.log_json = text(st, 7),
		};

		row(data, &e);
	}
	return rc == SQLITE_DONE ? 0 : db__fail(db, rc, err);
}

static struct store_revision revision_of(sqlite3_stmt *st)
{
	return (struct store_revision){
		.api = text(st, 0),
		.number = sqlite3_column_int64(st, 1),
		.created_ms = sqlite3_column_int64(st, 2),
		.live_ms = sqlite3_column_int64(st, 3),
		.failed_ms = sqlite3_column_int64(st, 4),
		.why = text(st, 5),
		.origin = text(st, 6),
		.project = text(st, 7),
	};
}

#define REVISION_COLUMNS                                                       \
	"api, revision, created_ms, live_ms, failed_ms, why, origin, project"

int row__load_revisions(struct db *db,
			void (*row)(void *data, const struct store_revision *r),
			void *data, struct err *err)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int rc;

	st = db__stmt(db, LOAD_REVISIONS,
		      "SELECT " REVISION_COLUMNS " FROM revisions"
		      " ORDER BY api, revision",
		      err);
	if (!st)
		return err->code;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_revision r = revision_of(st);

		row(data, &r);
	}
	return rc == SQLITE_DONE ? 0 : db__fail(db, rc, err);
}

int row__read_revision(struct db *db, const char *api, int64_t number,
		       void (*row)(void *data, const struct store_revision *r),
		       void *data, struct err *err)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	struct store_revision r;
	int rc;

	st = db__stmt(db, READ_REVISION,
		      "SELECT " REVISION_COLUMNS ", spec FROM revisions"
		      " WHERE api = ?1 AND revision = ?2",
		      err);
	if (!st)
		return err->code;
	db__bind_text(st, 1, api);
	db__bind_int(st, 2, number);
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return err_set(err, E_NOTFOUND,
			       "%s has no revision %lld: 'soma history %s' "
			       "shows those that are kept",
			       api, (long long)number, api);
	if (rc != SQLITE_ROW)
		return db__fail(db, rc, err);
	r = revision_of(st);
	r.spec_json = text(st, 8);
	row(data, &r);
	return 0;
}

int row__load_secrets(struct db *db,
		      void (*row)(void *data, const struct store_secret *v),
		      void *data, struct err *err)
{
	cleanup_stmt sqlite3_stmt *st = NULL;
	int rc;

	st = db__stmt(db, LOAD_SECRETS,
		      "SELECT name, value, updated_ms FROM secrets"
		      " ORDER BY name",
		      err);
	if (!st)
		return err->code;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_secret v = {
			.name = text(st, 0),
			.value = text(st, 1),
			.updated_ms = sqlite3_column_int64(st, 2),
		};

		row(data, &v);
	}
	return rc == SQLITE_DONE ? 0 : db__fail(db, rc, err);
}

int row__drop_strays(struct db *db, struct err *err)
{
	return db__exec(db,
			"DELETE FROM events"
			" WHERE api NOT IN (SELECT name FROM apis)",
			err);
}
