#include "store_fixture.h"

#include <sys/stat.h>

#include "core/str.h"

static void apis_outlive_the_store(void **state)
{
	struct fixture *f = *state;

	put_api(f, "iris", 1);
	put_api(f, "bert", 1);
	put_api(f, "iris", 2);
	run(f);
	assert_int_equal(f->n_done, 3);
	assert_int_equal(f->n_failed, 0);
	reopen(f);
	assert_string_equal(
		load_apis(f),
		"bert r1 u60001 1700000000001 {\"name\":\"x\"} abc\n"
		"iris r2 u60001 1700000000002 {\"name\":\"x\"} -\n");

	store_mark_deleting(f->s, "iris", on_done, f);
	store_remove_api(f->s, "bert", on_done, f);
	add_event(f, "iris", 1);
	run(f);
	reopen(f);
	assert_string_equal(
		load_apis(f),
		"iris r2 u60001 deleting 1700000000002 {\"name\":\"x\"} -\n");
	assert_int_equal(query(f, "SELECT count(*) FROM revisions"), 2);

	store_remove_api(f->s, "iris", on_done, f);
	run(f);
	assert_int_equal(query(f, "SELECT count(*) FROM revisions"), 0);
	assert_int_equal(query(f, "SELECT count(*) FROM events"), 0);
}

static void one_failure_leaves_its_neighbours(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 20; i++) {
		put_secret(f, i % 2 ? "odd" : "even", "v");
		store_mark_deleting(f->s, "nobody", on_done, f);
		put_api(f, "iris", i + 1);
	}
	run(f);
	assert_int_equal(f->n_done, 60);
	assert_int_equal(f->n_failed, 20);
	assert_string_equal(f->last_text, "no api 'nobody' in the store");
	assert_string_equal(load_secrets(f), "even=v@5\nodd=v@5\n");
	assert_non_null(strstr(load_apis(f), "iris r20 "));
}

struct ordered {
	struct fixture *f;
	int number;
};

static void on_ordered(void *data, const struct err *err)
{
	struct ordered *o = data;

	assert_null(err);
	assert_int_equal(o->f->n_done, o->number);
	o->f->n_done++;
}

static void writes_end_in_the_order_they_came(void **state)
{
	static struct ordered order[3000];
	struct fixture *f = *state;
	char value[16];

	for (int i = 0; i < 3000; i++) {
		order[i] = (struct ordered){f, i};
		snprintf(value, sizeof value, "%d", i);
		store_put_secret(f->s, &(struct store_secret){"k", value, 5},
				 on_ordered, &order[i]);
		if (i % 500 == 0) /* several batches */
			uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	run(f);
	assert_int_equal(f->n_done, 3000);
	assert_string_equal(load_secrets(f), "k=2999@5\n");
}

static void a_close_waits_for_what_is_queued(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 200; i++)
		put_api(f, "iris", i + 1);
	close_store(f);
	assert_int_equal(f->n_done, 200);
	assert_int_equal(f->n_failed, 0);
	open_store(f);
	assert_non_null(strstr(load_apis(f), "iris r200 "));
}

static void write_more(void *data, const struct err *err)
{
	assert_null(err);
	put_secret(data, "late", "v");
}

static void a_write_while_closing_is_refused(void **state)
{
	struct fixture *f = *state;

	store_put_secret(f->s, &(struct store_secret){"k", "v", 5}, write_more,
			 f);
	close_store(f);
	assert_int_equal(f->n_failed, 1);
	assert_int_equal(f->last_code, E_CANCELED);
}

/* Another may open it, what was queued is there, and nothing more is taken. */
static void who_leaves_it_writes_no_more(void **state)
{
	struct fixture *f = *state;
	struct store *other;
	struct err err = {0};
	bool left = false, closed = false;

	put_api(f, "iris", 1);
	store_leave(f->s, on_closed, &left);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_true(left);
	assert_int_equal(f->n_done, 1);
	assert_int_equal(f->n_failed, 0);
	assert_int_equal(store_open(&other, &f->loop, f->dir, &err), 0);
	put_api(f, "iris", 2);
	run(f);
	assert_int_equal(f->n_failed, 1);
	assert_int_equal(f->last_code, E_CANCELED);
	store_close(f->s, on_closed, &closed);
	run(f);
	assert_true(closed);
	f->s = other;
	assert_non_null(strstr(load_apis(f), "iris r1 "));
}

static void set_version(struct fixture *f, int version)
{
	cleanup_free char *path = mem_printf("%s/state.db", f->dir);
	char sql[64];
	sqlite3 *db;

	snprintf(sql, sizeof sql, "PRAGMA user_version=%d", version);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* Beside who has it open. */
static void a_newer_schema_is_seen_without_a_change(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	assert_int_equal(store_check(f->dir, &err), 0);
	assert_int_equal(store_check("/nonexistent", &err), 0);
	set_version(f, 99);
	assert_int_equal(store_check(f->dir, &err), E_CONFLICT);
	assert_non_null(strstr(err.msg, "schema 99"));
	set_version(f, db__schema_version);
	assert_int_equal(store_check(f->dir, &err), 0);
}

static void newest_revisions_and_the_asked_one_stay(void **state)
{
	struct fixture *f = *state;

	for (int i = 1; i <= 30; i++)
		put_api(f, "iris", i);
	run(f);
	assert_int_equal(query(f, "SELECT count(*) FROM revisions"), 20);
	assert_int_equal(query(f, "SELECT min(revision) FROM revisions"), 11);
	put_api(f, "iris", 5);
	run(f);
	assert_non_null(strstr(load_apis(f), "iris r5 "));
	assert_int_equal(query(f, "SELECT count(*) FROM revisions"), 21);
}

static void on_live_row(void *data, const struct store_api *a)
{
	struct store_api *ret = data;

	*ret = *a;
	assert_true(a->live == 0 || a->live_spec_json);
}

static void the_live_revision_outlives_newer_ones(void **state)
{
	struct fixture *f = *state;
	struct store_api a = {0};
	struct err err = {0};

	put_api(f, "iris", 1);
	store_mark_live(f->s, "iris", 1);
	store_mark_live(f->s, "nobody", 1);
	run(f);
	assert_int_equal(store_load_apis(f->s, on_live_row, &a, &err), 0);
	assert_int_equal(a.live, 0); /* it is the one asked for */
	for (int i = 2; i <= 40; i++)
		put_api(f, "iris", i);
	run(f);
	reopen(f);
	assert_int_equal(store_load_apis(f->s, on_live_row, &a, &err), 0);
	assert_int_equal(a.revision, 40);
	assert_int_equal(a.live, 1);
}

static void what_is_being_deleted_is_not_changed(void **state)
{
	struct fixture *f = *state;

	put_api(f, "iris", 1);
	store_mark_deleting(f->s, "iris", on_done, f);
	put_api(f, "iris", 2);
	run(f);
	assert_int_equal(f->n_failed, 1);
	assert_int_equal(f->last_code, E_CONFLICT);
	assert_non_null(strstr(load_apis(f), "iris r1 "));
}

static void ten_thousand_events_are_trimmed(void **state)
{
	struct fixture *f = *state;

	put_api(f, "iris", 1);
	put_api(f, "bert", 1);
	for (int i = 1; i <= 10000; i++)
		add_event(f, "iris", i);
	for (int i = 1; i <= 3; i++)
		add_event(f, "bert", 10 * i); /* gaps count for nothing */
	add_event(f, "gone", 1);
	run(f);
	assert_int_equal(
		query(f, "SELECT count(*) FROM events WHERE api = 'iris'"),
		1000);
	assert_int_equal(
		query(f, "SELECT min(seq) FROM events WHERE api = 'iris'"),
		9001);
	load_events(f);
	assert_true(str_starts(str_of(buf_cstr(&f->seen)),
			       STR("bert/10 env_output - -\n"
				   "bert/20 env_output - -\n"
				   "bert/30 env_output - -\n"
				   "iris/9801 env_output iris-1-0 [\"x\"]\n"
				   "iris/9802 env_output - -\n")));
	assert_null(strstr(buf_cstr(&f->seen), "gone"));
	reopen(f);
	assert_int_equal(
		query(f, "SELECT count(*) FROM events WHERE api = 'gone'"), 0);
}

static void secrets_are_kept_replaced_and_removed(void **state)
{
	struct fixture *f = *state;

	put_secret(f, "token", "one");
	put_secret(f, "empty", "");
	put_secret(f, "token", "two\nlines \xc3\xa9");
	run(f);
	reopen(f);
	assert_string_equal(load_secrets(f),
			    "empty=@5\ntoken=two\nlines \xc3\xa9@5\n");
	store_remove_secret(f->s, "token", on_done, f);
	run(f);
	assert_int_equal(f->last_code, 0);
	store_remove_secret(f->s, "token", on_done, f);
	run(f);
	assert_int_equal(f->last_code, E_NOTFOUND);
	assert_string_equal(f->last_text, "no secret 'token'");
	assert_string_equal(load_secrets(f), "empty=@5\n");
}

static void files_are_private_whatever_the_umask(void **state)
{
	static const char *const names[] = {"state.db", "state.db-wal",
					    "state.db-shm"};
	struct fixture *f = *state;
	mode_t was = umask(0);

	tmpdir_remove(f->dir);
	f->dir = tmpdir_make();
	close_store(f);
	open_store(f);
	put_secret(f, "k", "v");
	run(f);
	umask(was);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		cleanup_free char *path = mem_printf("%s/%s", f->dir, names[i]);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

static const char *const steps[] = {
	"CREATE TABLE a(x INTEGER)",
	"ALTER TABLE a ADD COLUMN y INTEGER; INSERT INTO a VALUES(1, 2)",
	"CREATE TABLE b AS SELECT x + y AS z FROM a",
};

static void every_older_version_is_brought_up(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	close_store(f);
	for (int from = 0; from <= 3; from++) {
		cleanup_free char *path = mem_printf("%s/m%d.db", f->dir, from);
		struct db db = {.dir = f->dir, .path = path};

		assert_int_equal(sqlite3_open(path, &db.conn), SQLITE_OK);
		assert_int_equal(db__migrate(&db, steps, from, &err), 0);
		assert_int_equal(db__migrate(&db, steps, 3, &err), 0);
		assert_int_equal(db__exec(&db, "INSERT INTO b VALUES(4)", &err),
				 0);
		assert_int_equal(db__migrate(&db, steps, 2, &err), E_CONFLICT);
		sqlite3_close(db.conn);
	}
	open_store(f);
}

static void a_failed_migration_changes_nothing(void **state)
{
	static const char *const bad[] = {
		"CREATE TABLE a(x INTEGER)",
		"CREATE TABLE c(x INTEGER); INSERT INTO nowhere VALUES(1)",
	};
	struct fixture *f = *state;
	cleanup_free char *path = mem_printf("%s/m.db", f->dir);
	struct db db = {.dir = f->dir, .path = path};
	struct err err = {0};

	assert_int_equal(sqlite3_open(path, &db.conn), SQLITE_OK);
	assert_int_equal(db__migrate(&db, bad, 2, &err), E_INTERNAL);
	assert_non_null(strstr(err.msg, "upgrading to schema 2: "));
	assert_int_equal(db__exec(&db, "INSERT INTO a VALUES(1)", &err), 0);
	assert_int_not_equal(db__exec(&db, "INSERT INTO c VALUES(1)", &err), 0);
	assert_int_equal(db__migrate(&db, steps, 3, &err), 0);
	sqlite3_close(db.conn);
}

static void note_scale(void *data, const struct store_api *a)
{
	struct fixture *f = data;

	buf_addf(&f->seen, "%s %s\n", a->name,
		 a->scale_json ? a->scale_json : "-");
}

/* Also over a new revision; not over the end of its api. */
static void what_scaling_goes_by_is_kept(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	put_api(f, "bert", 1);
	put_api(f, "iris", 1);
	store_keep_scale(f->s, "iris", "{\"asleep\":true}", on_done, f);
	store_keep_scale(f->s, "nobody", "{}", on_done, f);
	put_api(f, "iris", 2);
	run(f);
	assert_int_equal(f->n_failed, 0);
	reopen(f);
	buf_reset(&f->seen);
	assert_int_equal(store_load_apis(f->s, note_scale, f, &err), 0);
	assert_string_equal(buf_cstr(&f->seen),
			    "bert -\niris {\"asleep\":true}\n");
	store_remove_api(f->s, "iris", on_done, f);
	put_api(f, "iris", 3);
	run(f);
	buf_reset(&f->seen);
	assert_int_equal(store_load_apis(f->s, note_scale, f, &err), 0);
	assert_string_equal(buf_cstr(&f->seen), "bert -\niris -\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(apis_outlive_the_store),
		T(one_failure_leaves_its_neighbours),
		T(writes_end_in_the_order_they_came),
		T(a_close_waits_for_what_is_queued),
		T(a_write_while_closing_is_refused),
		T(who_leaves_it_writes_no_more),
		T(a_newer_schema_is_seen_without_a_change),
		T(newest_revisions_and_the_asked_one_stay),
		T(the_live_revision_outlives_newer_ones),
		T(what_is_being_deleted_is_not_changed),
		T(what_scaling_goes_by_is_kept),
		T(ten_thousand_events_are_trimmed),
		T(secrets_are_kept_replaced_and_removed),
		T(files_are_private_whatever_the_umask),
		T(every_older_version_is_brought_up),
		T(a_failed_migration_changes_nothing),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
