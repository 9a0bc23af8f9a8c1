/* store_fixture.h: a store in a directory of its own, and what its callbacks
 * and rows wrote down. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "store/db.h"
#include "store/store.h"
#include "tmpdir.h"

struct fixture {
	uv_loop_t loop;
	char *dir;
	struct store *s;
	struct buf seen; /* what callbacks and rows wrote down */
	int last_code;
	char last_text[ERR_MSG_MAX];
	int n_done, n_failed;
};

static inline void open_store(struct fixture *f)
{
	struct err err = {0};

	assert_int_equal(store_open(&f->s, &f->loop, f->dir, &err), 0);
}

static inline int setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof *f);

	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->dir = tmpdir_make();
	buf_init(&f->seen, 1 << 20);
	open_store(f);
	*state = f;
	return 0;
}

static inline void on_closed(void *data)
{
	*(bool *)data = true;
}

static inline void close_store(struct fixture *f)
{
	bool closed = false;

	store_close(f->s, on_closed, &closed);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_true(closed);
	f->s = NULL;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->s)
		close_store(f);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	buf_fini(&f->seen);
	tmpdir_remove(f->dir);
	free(f);
	return 0;
}

static inline void reopen(struct fixture *f)
{
	close_store(f);
	open_store(f);
}

static inline void on_done(void *data, const struct err *err)
{
	struct fixture *f = data;

	f->n_done++;
	f->last_code = err ? err->code : 0;
	if (err) {
		f->n_failed++;
		snprintf(f->last_text, sizeof f->last_text, "%s", err->msg);
	}
}

/* Returns when every write has been answered. */
static inline void run(struct fixture *f)
{
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static inline void put_api(struct fixture *f, const char *name,
			   int64_t revision)
{
	struct store_api a = {
		.name = name,
		.revision = revision,
		.uid = 60001,
		.updated_ms = 1700000000000 + revision,
		.spec_json = "{\"name\":\"x\"}",
		.project = revision % 2 ? "abc" : NULL,
	};

	store_put_api(f->s, &a, on_done, f);
}

static inline void put_secret(struct fixture *f, const char *name,
			      const char *value)
{
	store_put_secret(f->s, &(struct store_secret){name, value, 5}, on_done,
			 f);
}

static inline void add_event(struct fixture *f, const char *api, int64_t seq)
{
	struct store_event e = {
		.api = api,
		.seq = seq,
		.time_ms = 1000 + seq,
		.revision = 1,
		.type = "env_output",
		.replica = seq % 2 ? "iris-1-0" : NULL,
		.text = "a line",
		.log_json = seq % 2 ? "[\"x\"]" : NULL,
	};

	store_add_event(f->s, &e);
}

static inline void note_api(void *data, const struct store_api *a)
{
	struct fixture *f = data;

	buf_addf(&f->seen, "%s r%lld u%lld %s%lld %s %s\n", a->name,
		 (long long)a->revision, (long long)a->uid,
		 a->deleting ? "deleting " : "", (long long)a->updated_ms,
		 a->spec_json, a->project ? a->project : "-");
}

static inline void note_secret(void *data, const struct store_secret *v)
{
	struct fixture *f = data;

	buf_addf(&f->seen, "%s=%s@%lld\n", v->name, v->value,
		 (long long)v->updated_ms);
}

static inline void note_event(void *data, const struct store_event *e)
{
	struct fixture *f = data;

	buf_addf(&f->seen, "%s/%lld %s %s %s\n", e->api, (long long)e->seq,
		 e->type, e->replica ? e->replica : "-",
		 e->log_json ? e->log_json : "-");
}

static inline const char *load_apis(struct fixture *f)
{
	struct err err = {0};

	buf_reset(&f->seen);
	assert_int_equal(store_load_apis(f->s, note_api, f, &err), 0);
	return buf_cstr(&f->seen);
}

static inline const char *load_secrets(struct fixture *f)
{
	struct err err = {0};

	buf_reset(&f->seen);
	assert_int_equal(store_load_secrets(f->s, note_secret, f, &err), 0);
	return buf_cstr(&f->seen);
}

static inline const char *load_events(struct fixture *f)
{
	struct err err = {0};

	buf_reset(&f->seen);
	assert_int_equal(store_load_events(f->s, note_event, f, &err), 0);
	return buf_cstr(&f->seen);
}

/* One number out of the file, read beside the store. */
static inline int query(struct fixture *f, const char *sql)
{
	cleanup_free char *path = mem_printf("%s/state.db", f->dir);
	sqlite3_stmt *st;
	sqlite3 *db;
	int n;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
