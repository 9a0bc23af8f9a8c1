/* db.h: the one SQLite connection: opening, migrations, and the only code that
 * begins and ends transactions. For the store folder. */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

/* Statements are prepared once, on first use, and kept by number. */
enum { DB_STMTS = 24 };

/* Used by one thread at a time: the owner sees to that. */
struct db {
	sqlite3 *conn;		       /* owned */
	char *dir;		       /* owned; for messages */
	char *path;		       /* owned */
	sqlite3_stmt *stmts[DB_STMTS]; /* owned */
	const char *began_by; /* who began the open transaction; NULL: none */
};

/* Opens and migrates DIR/state.db. On failure db needs no closing. */
int db__open(struct db *db, const char *dir, struct err *err);
void db__close(struct db *db);

/* Only the one who began may commit. A failed commit has rolled back: nothing
 * of the transaction remains. */
int db__begin(struct db *db, const char *who, struct err *err);
int db__commit(struct db *db, const char *who, struct err *err);
void db__rollback(struct db *db);
/* True when SQLite itself gave the transaction up, as it may on a full disk. */
bool db__lost_transaction(const struct db *db);

int db__exec(struct db *db, const char *sql, struct err *err);

/* The statement kept as `number`, ready to bind. NULL: err is set. Give it to
 * db__done when through. */
sqlite3_stmt *db__stmt(struct db *db, int number, const char *sql,
		       struct err *err);
void db__done(sqlite3_stmt *st);
void db__bind_text(sqlite3_stmt *st, int at, const char *text);
void db__bind_int(sqlite3_stmt *st, int at, int64_t value);
/* Runs a statement that gives no rows, then db__done. */
int db__run(struct db *db, sqlite3_stmt *st, struct err *err);

/* err from SQLite's last result `rc`, in words with the remedy. */
int db__fail(const struct db *db, int rc, struct err *err);

static inline void db__stmtp(sqlite3_stmt **st)
{
	db__done(*st);
}

/* Reset, not finalised, when it leaves its scope. */
#define cleanup_stmt __attribute__((cleanup(db__stmtp)))

/* migrate.c. steps[i] leads from version i to i + 1; each runs in a transaction
 * of its own together with the change of version. */
int db__migrate(struct db *db, const char *const *steps, int n_steps,
		struct err *err);
extern const char *const db__schema[];
extern const int db__schema_version;

#endif
