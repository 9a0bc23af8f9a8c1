#include "store/db.h"

#include <stdio.h>

#include "core/mem.h"

/* Never changed once released: a later need is a later step. */
const char *const db__schema[] = {
	/* 1 */
	"CREATE TABLE apis("
	" name TEXT NOT NULL PRIMARY KEY,"
	" revision INTEGER NOT NULL,"
	" uid INTEGER NOT NULL,"
	" deleting INTEGER NOT NULL,"
	" updated_ms INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE revisions("
	" api TEXT NOT NULL REFERENCES apis(name) ON DELETE CASCADE,"
	" revision INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL,"
	" spec TEXT NOT NULL,"
	" project TEXT,"
	" PRIMARY KEY(api, revision)"
	") STRICT;"
	/* An event may arrive before the api's row or after it: no reference.
	 */
	"CREATE TABLE events("
	" api TEXT NOT NULL,"
	" seq INTEGER NOT NULL,"
	" time_ms INTEGER NOT NULL,"
	" revision INTEGER NOT NULL,"
	" type TEXT NOT NULL,"
	" replica TEXT,"
	" text TEXT NOT NULL,"
	" log TEXT,"
	" PRIMARY KEY(api, seq)"
	") STRICT;"
	"CREATE TABLE secrets("
	" name TEXT NOT NULL PRIMARY KEY,"
	" value TEXT NOT NULL,"
	" updated_ms INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;",
	/* 2: the newest revision that was live, to go on serving it while the
	 * one asked for is rolled out; 0: none */
	"ALTER TABLE apis ADD COLUMN live INTEGER NOT NULL DEFAULT 0;",
	/* 3: what the number of replicas goes by, as JSON */
	"ALTER TABLE apis ADD COLUMN scale TEXT;",
	/* 4: what became of each revision, for its history; 0: not so far */
	"ALTER TABLE revisions ADD COLUMN origin TEXT;"
	"ALTER TABLE revisions ADD COLUMN live_ms INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE revisions ADD COLUMN failed_ms INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE revisions ADD COLUMN why TEXT;",
};

const int db__schema_version = ARRAY_LEN(db__schema);

static int user_version(struct db *db, int *ret, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db->conn, "PRAGMA user_version", -1, &st,
				    NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		*ret = sqlite3_column_int(st, 0);
		rc = 0;
	} else {
		rc = db__fail(db, rc, err);
	}
	sqlite3_finalize(st);
	return rc;
}

static int step(struct db *db, const char *sql, int version, struct err *err)
{
	char set[64];
	int rc;

	snprintf(set, sizeof set, "PRAGMA user_version=%d", version);
	rc = db__begin(db, "migrate", err);
	if (rc == 0)
		rc = db__exec(db, sql, err);
	if (rc == 0)
		rc = db__exec(db, set, err);
	if (rc == 0)
		return db__commit(db, "migrate", err);
	db__rollback(db);
	return rc;
}

int db__migrate(struct db *db, const char *const *steps, int n_steps,
		struct err *err)
{
	int version = 0, rc = user_version(db, &version, err);

	if (rc != 0)
		return rc;
	if (version > n_steps)
		return err_set(err, E_CONFLICT,
			       "%s was written by a newer Soma (schema %d, "
			       "this one knows %d): start that Soma, or give "
			       "this one another directory with --data DIR",
			       db->path, version, n_steps);
	while (version < n_steps) {
		rc = step(db, steps[version], version + 1, err);
		if (rc != 0) {
			err_wrap(err, "upgrading to schema %d", version + 1);
			return rc;
		}
		version++;
	}
	return 0;
}
