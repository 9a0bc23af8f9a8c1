#include "store/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "store/store.h"

/* "Soma", in the header of the file: another program's database is not taken
 * for ours. */
enum { APPLICATION_ID = 0x536f6d61 };

enum { BUSY_MS = 5000, WAL_KEEP_BYTES = 8 << 20 };

/* The kernel's reason is not kept by SQLite in a way to rely on: a write that
 * failed is nearly always one without room (quota, RLIMIT_FSIZE), and the
 * remedy says so. */
static bool is_no_space(int rc)
{
	return (rc & 0xff) == SQLITE_FULL || rc == SQLITE_IOERR_WRITE ||
	       rc == SQLITE_IOERR_SHMSIZE;
}

int db__fail(const struct db *db, int rc, struct err *err)
{
	if (is_no_space(rc))
		return err_set(err, E_NOSPACE,
			       "cannot save state in %s (%s): free some space "
			       "on its file system, then try again",
			       db->dir, sqlite3_errstr(rc));
	switch (rc & 0xff) {
	case SQLITE_NOTADB:
		return err_set(err, E_IO,
			       "%s is not a database: restore it from a "
			       "backup, or move it away to start empty (apis "
			       "must then be deployed again)",
			       db->path);
	case SQLITE_CORRUPT:
		return err_set(err, E_IO,
			       "%s is damaged (%s): restore it from a backup, "
			       "or move it, %s-wal and %s-shm away to start "
			       "empty (apis must then be deployed again)",
			       db->path, sqlite3_errmsg(db->conn), db->path,
			       db->path);
	case SQLITE_IOERR:
		return err_set(err, E_IO,
			       "cannot read or write %s (%s): check its disk, "
			       "then try again",
			       db->path, sqlite3_errstr(rc));
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return err_set(
			err, E_FORBIDDEN,
			"cannot write %s: %s: the file and its directory "
			"must be writable by the user who runs Soma",
			db->path, sqlite3_errmsg(db->conn));
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(err, E_BUSY,
			       "%s is locked by another program: end it, then "
			       "try again",
			       db->path);
	default:
		return err_set(err, E_INTERNAL, "%s: %s", db->path,
			       sqlite3_errmsg(db->conn));
	}
}

int db__exec(struct db *db, const char *sql, struct err *err)
{
	int rc = sqlite3_exec(db->conn, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : db__fail(db, rc, err);
}

int db__begin(struct db *db, const char *who, struct err *err)
{
	int rc;

	assert(!db->began_by);
	rc = db__exec(db, "BEGIN IMMEDIATE", err);
	if (rc == 0)
		db->began_by = who;
	return rc;
}

int db__commit(struct db *db, const char *who, struct err *err)
{
	int rc;

	assert(db->began_by && strcmp(db->began_by, who) == 0);
	rc = db__exec(db, "COMMIT", err);
	if (rc != 0)
		db__rollback(db);
	db->began_by = NULL;
	return rc;
}

void db__rollback(struct db *db)
{
	/* SQLite may have rolled back by itself. */
	if (!sqlite3_get_autocommit(db->conn))
		sqlite3_exec(db->conn, "ROLLBACK", NULL, NULL, NULL);
	db->began_by = NULL;
}

bool db__lost_transaction(const struct db *db)
{
	return db->began_by && sqlite3_get_autocommit(db->conn);
}

sqlite3_stmt *db__stmt(struct db *db, int number, const char *sql,
		       struct err *err)
{
	int rc;

	assert(number >= 0 && number < DB_STMTS);
	if (!db->stmts[number]) {
		rc = sqlite3_prepare_v3(db->conn, sql, -1,
					SQLITE_PREPARE_PERSISTENT,
					&db->stmts[number], NULL);
		if (rc != SQLITE_OK) {
			db__fail(db, rc, err);
			return NULL;
		}
	}
	return db->stmts[number];
}

void db__done(sqlite3_stmt *st)
{
	if (!st)
		return;
	sqlite3_reset(st);
	sqlite3_clear_bindings(st); /* what was bound is borrowed */
}

void db__bind_text(sqlite3_stmt *st, int at, const char *text)
{
	int rc = text ? sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC)
		      : sqlite3_bind_null(st, at);

	assert(rc == SQLITE_OK);
	(void)rc;
}

void db__bind_int(sqlite3_stmt *st, int at, int64_t value)
{
	int rc = sqlite3_bind_int64(st, at, value);

	assert(rc == SQLITE_OK);
	(void)rc;
}

int db__run(struct db *db, sqlite3_stmt *st, struct err *err)
{
	int rc = sqlite3_step(st);

	rc = rc == SQLITE_DONE ? 0 : db__fail(db, rc, err);
	db__done(st);
	return rc;
}

/* Made before SQLite sees it: -wal and -shm take over the mode of the file, so
 * nobody else can read a secret at any moment, whatever the umask. */
static int make_private(const char *path, struct err *err)
{
	cleanup_close int fd =
		open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", path);
	if (fchmod(fd, 0600) != 0)
		return err_sys(err, errno, "cannot make %s private", path);
	return 0;
}

static int pragma_int(struct db *db, const char *sql, int *ret, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db->conn, sql, -1, &st, NULL);

	if (rc == SQLITE_OK) {
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW) {
			*ret = sqlite3_column_int(st, 0);
			rc = SQLITE_OK;
		} else if (rc == SQLITE_DONE) {
			rc = SQLITE_ERROR;
		}
	}
	rc = rc == SQLITE_OK ? 0 : db__fail(db, rc, err);
	sqlite3_finalize(st);
	return rc;
}

/* Ours, or empty. */
static int check_owner(struct db *db, struct err *err)
{
	char mark[64];
	int id = 0, tables = 0, rc;

	rc = pragma_int(db, "PRAGMA application_id", &id, err);
	if (rc == 0)
		rc = pragma_int(db, "SELECT count(*) FROM sqlite_schema",
				&tables, err);
	if (rc != 0)
		return rc;
	if (id != APPLICATION_ID && (id != 0 || tables > 0))
		return err_set(err, E_CONFLICT,
			       "%s is another program's database: give Soma a "
			       "data directory of its own with --data DIR",
			       db->path);
	/* Only when new: a start must not need room on the disk. */
	if (id == APPLICATION_ID)
		return 0;
	snprintf(mark, sizeof mark, "PRAGMA application_id=%d", APPLICATION_ID);
	return db__exec(db, mark, err);
}

int store_check(const char *dir, struct err *err)
{
	struct db db = {.dir = mem_strdup(dir)};
	int rc = 0, version = 0, code;

	db.path = mem_printf("%s/state.db", dir);
	if (access(db.path, F_OK) == 0) {
		code = sqlite3_open_v2(
			db.path, &db.conn,
			SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
		if (code == SQLITE_OK) {
			sqlite3_busy_timeout(db.conn, BUSY_MS);
			rc = pragma_int(&db, "PRAGMA user_version", &version,
					err);
		} else {
			rc = db__fail(&db, code, err);
		}
	}
	if (!rc && version > db__schema_version)
		rc = err_set(err, E_CONFLICT,
			     "%s was written by a newer Soma (schema %d, this "
			     "one knows %d): choose a newer program",
			     db.path, version, db__schema_version);
	sqlite3_close(db.conn);
	free(db.path);
	free(db.dir);
	return rc;
}

static int configure(struct db *db, struct err *err)
{
	cleanup_free char *setup = mem_printf(
		"PRAGMA journal_mode=WAL;"
		"PRAGMA synchronous=FULL;"
		"PRAGMA foreign_keys=ON;"
		"PRAGMA secure_delete=ON;" /* no removed secret in the file */
		"PRAGMA trusted_schema=OFF;"
		"PRAGMA journal_size_limit=%d;",
		WAL_KEEP_BYTES);

	return db__exec(db, setup, err);
}

int db__open(struct db *db, const char *dir, struct err *err)
{
	int rc;

	*db = (struct db){0};
	db->dir = mem_strdup(dir);
	db->path = mem_printf("%s/state.db", dir);
	rc = make_private(db->path, err);
	if (rc == 0) {
		int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
		int code = sqlite3_open_v2(db->path, &db->conn, flags, NULL);

		if (code != SQLITE_OK)
			rc = db__fail(db, code, err);
	}
	if (rc == 0) {
		sqlite3_extended_result_codes(db->conn, 1);
		sqlite3_busy_timeout(db->conn, BUSY_MS);
		rc = check_owner(db, err);
	}
	if (rc == 0)
		rc = configure(db, err);
	if (rc == 0)
		rc = db__migrate(db, db__schema, db__schema_version, err);
	if (rc != 0)
		db__close(db);
	return rc;
}

void db__close(struct db *db)
{
	for (size_t i = 0; i < ARRAY_LEN(db->stmts); i++)
		sqlite3_finalize(db->stmts[i]);
	sqlite3_close(db->conn);
	free(db->dir);
	free(db->path);
	*db = (struct db){0};
}
