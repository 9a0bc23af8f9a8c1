#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/buf.h"
#include "core/str.h"
#include "store/db.h"
#include "store/store.h"
#include "tmpdir.h"

static bool own_mounts;

struct fixture {
	uv_loop_t loop;
	char *dir;
	struct store *s;
	struct buf seen; /* what callbacks and rows wrote down */
	int last_code;
	char last_text[ERR_MSG_MAX];
	int n_done, n_failed;
};

static void open_store(struct fixture *f)
{
	struct err err = {0};

	assert_int_equal(store_open(&f->s, &f->loop, f->dir, &err), 0);
}

static int setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof *f);

	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->dir = tmpdir_make();
	buf_init(&f->seen, 1 << 20);
	open_store(f);
	*state = f;
	return 0;
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

static void close_store(struct fixture *f)
{
	bool closed = false;

	store_close(f->s, on_closed, &closed);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_true(closed);
	f->s = NULL;
}

static int teardown(void **state)
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

static void reopen(struct fixture *f)
{
	close_store(f);
	open_store(f);
}

static void on_done(void *data, const struct err *err)
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
static void run(struct fixture *f)
{
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void put_api(struct fixture *f, const char *name, int64_t revision)
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

static void put_secret(struct fixture *f, const char *name, const char *value)
{
	store_put_secret(f->s, &(struct store_secret){name, value, 5}, on_done,
			 f);
}

static void add_event(struct fixture *f, const char *api, int64_t seq)
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

static void note_api(void *data, const struct store_api *a)
{
	struct fixture *f = data;

	buf_addf(&f->seen, "%s r%lld u%lld %s%lld %s %s\n", a->name,
		 (long long)a->revision, (long long)a->uid,
		 a->deleting ? "deleting " : "", (long long)a->updated_ms,
		 a->spec_json, a->project ? a->project : "-");
}

static void note_secret(void *data, const struct store_secret *v)
{
	struct fixture *f = data;

	buf_addf(&f->seen, "%s=%s@%lld\n", v->name, v->value,
		 (long long)v->updated_ms);
}

static void note_event(void *data, const struct store_event *e)
{
	struct fixture *f = data;

	buf_addf(&f->seen, "%s/%lld %s %s %s\n", e->api, (long long)e->seq,
		 e->type, e->replica ? e->replica : "-",
		 e->log_json ? e->log_json : "-");
}

static const char *load_apis(struct fixture *f)
{
	struct err err = {0};

	buf_reset(&f->seen);
	assert_int_equal(store_load_apis(f->s, note_api, f, &err), 0);
	return buf_cstr(&f->seen);
}

static const char *load_secrets(struct fixture *f)
{
	struct err err = {0};

	buf_reset(&f->seen);
	assert_int_equal(store_load_secrets(f->s, note_secret, f, &err), 0);
	return buf_cstr(&f->seen);
}

static const char *load_events(struct fixture *f)
{
	struct err err = {0};

	buf_reset(&f->seen);
	assert_int_equal(store_load_events(f->s, note_event, f, &err), 0);
	return buf_cstr(&f->seen);
}

/* One number out of the file, read beside the store. */
static int query(struct fixture *f, const char *sql)
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

struct child_write {
	struct store *s;
	int fd, number;
};

static void on_child_done(void *data, const struct err *err)
{
	struct child_write *w = data;
	char name[16];

	if (err || write(w->fd, &w->number, sizeof w->number) < 0)
		_exit(1);
	w->number += 100;
	snprintf(name, sizeof name, "k%d", w->number);
	store_put_secret(w->s, &(struct store_secret){name, "v", 5},
			 on_child_done, w);
}

/* Writes without end, telling each acknowledged number. */
static void child_writes(const char *dir, int fd)
{
	struct child_write writes[100];
	struct err err = {0};
	struct store *s;
	uv_loop_t loop;

	if (uv_loop_init(&loop) != 0 || store_open(&s, &loop, dir, &err) != 0)
		_exit(1);
	for (int i = 0; i < 100; i++) {
		writes[i] = (struct child_write){s, fd, i - 100};
		on_child_done(&writes[i], NULL);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(1);
}

/* A child is killed in the midst of writing: what it told must be there. */
static void an_acknowledged_write_survives_a_kill(void **state)
{
	struct fixture *f = *state;

	close_store(f);
	for (int round = 1; round <= 4; round++) {
		int fds[2], status, number, told = 0, limit = 700 * round;
		bool there[20000] = {false};
		char sql[80];
		pid_t pid;

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child_writes(f->dir, fds[1]);
		close(fds[1]);
		while (read(fds[0], &number, sizeof number) ==
		       (ssize_t)sizeof number) {
			if (number >= 0 && number < 20000)
				there[number] = true;
			if (++told == limit)
				kill(pid, SIGKILL);
		}
		close(fds[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_true(told >= limit);
		open_store(f);
		for (number = 0; number < 20000; number += 37) {
			if (!there[number])
				continue;
			snprintf(sql, sizeof sql,
				 "SELECT count(*) FROM secrets"
				 " WHERE name = 'k%d'",
				 number);
			assert_int_equal(query(f, sql), 1);
		}
		close_store(f);
	}
	open_store(f);
}

static int64_t file_size(struct fixture *f, const char *name)
{
	cleanup_free char *path = mem_printf("%s/%s", f->dir, name);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* Each far larger than what little room there may be. */
static void check_no_space(struct fixture *f)
{
	enum { BIG = 2000000 };
	cleanup_free char *big = mem_alloc(BIG + 1);

	memset(big, 'x', BIG);
	f->n_done = f->n_failed = 0;
	for (int i = 0; i < 5; i++) { /* of one batch, mostly */
		put_secret(f, "big", big);
		put_secret(f, "bigger", big);
		run(f);
	}
	assert_int_equal(f->n_done, 10);
	assert_int_equal(f->n_failed, 10);
	assert_int_equal(f->last_code, E_NOSPACE);
	assert_non_null(strstr(f->last_text, f->dir));
	assert_non_null(strstr(f->last_text, "free some space"));
	assert_string_equal(load_secrets(f), "");
	assert_string_equal(load_apis(f), "iris r1 u60001 1700000000001 "
					  "{\"name\":\"x\"} abc\n");
}

static void a_full_disk_fails_the_batch_and_heals(void **state)
{
	struct fixture *f = *state;
	struct rlimit was, tight;

	put_api(f, "iris", 1);
	run(f);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	tight = was;
	tight.rlim_cur = (rlim_t)file_size(f, "state.db-wal") + 150000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	check_no_space(f);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);

	put_secret(f, "k", "v");
	put_api(f, "iris", 2);
	run(f);
	assert_int_equal(f->last_code, 0);
	reopen(f);
	assert_non_null(strstr(load_secrets(f), "k=v@5\n"));
	assert_non_null(strstr(load_apis(f), "iris r2 "));
}

static void a_full_file_system_fails_and_heals(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *filler = mem_printf("%s/filler", f->dir);
	cleanup_free char *zeros = mem_alloc(1 << 20);
	int fd;

	close_store(f);
	if (!tmpdir_mount_small(own_mounts, f->dir, "2m")) {
		open_store(f);
		skip();
	}
	open_store(f);
	put_api(f, "iris", 1);
	run(f);
	fd = open(filler, O_WRONLY | O_CREAT, 0600);
	while (write(fd, zeros, 4096) > 0)
		;
	close(fd);
	check_no_space(f);

	/* Full as it is, a killed daemon must come back. */
	reopen(f);
	assert_non_null(strstr(load_apis(f), "iris r1 "));

	assert_int_equal(unlink(filler), 0);
	put_secret(f, "k", "v");
	run(f);
	assert_int_equal(f->last_code, 0);
	close_store(f);
	umount2(f->dir, MNT_DETACH);
	open_store(f);
}

static void write_state(struct fixture *f, const char *text, size_t len)
{
	cleanup_free char *path = mem_printf("%s/state.db", f->dir);

	assert_int_equal(file_write(path, text, len, 0600, NULL), 0);
}

static void refuse(struct fixture *f, int code, const char *text)
{
	struct err err = {0};

	assert_int_equal(store_open(&f->s, &f->loop, f->dir, &err), code);
	assert_null(f->s);
	if (!strstr(err.msg, text))
		fail_msg("'%s' is not in '%s'", text, err.msg);
	assert_non_null(strstr(err.msg, f->dir));
}

static void what_cannot_be_read_is_named(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = mem_printf("%s/state.db", f->dir);
	struct err err = {0};
	struct db db;
	char junk[8192];
	int fd;

	close_store(f);
	memset(junk, 'j', sizeof junk);
	write_state(f, junk, sizeof junk);
	refuse(f, E_IO, "is not a database: restore it from a backup");

	/* A good head and a spoilt rest. */
	assert_int_equal(unlink(path), 0);
	open_store(f);
	close_store(f);
	fd = open(path, O_WRONLY);
	assert_true(pwrite(fd, junk, 4096 - 100, 100) > 0);
	close(fd);
	refuse(f, E_IO, "is damaged (");

	assert_int_equal(unlink(path), 0);
	assert_int_equal(db__open(&db, f->dir, &err), 0);
	assert_int_equal(db__exec(&db, "PRAGMA user_version=7", &err), 0);
	db__close(&db);
	refuse(f, E_CONFLICT,
	       "state.db was written by a newer Soma (schema 7, this one "
	       "knows 1)");

	assert_int_equal(unlink(path), 0);
	assert_int_equal(db__open(&db, f->dir, &err), 0);
	db__exec(&db, "PRAGMA application_id=77", &err);
	db__close(&db);
	refuse(f, E_CONFLICT, "is another program's database");

	tmpdir_remove(f->dir);
	f->dir = mem_strdup("/nonexistent/soma");
	refuse(f, E_NOTFOUND, "cannot open /nonexistent/soma/state.db");
	free(f->dir);
	f->dir = tmpdir_make();
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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(apis_outlive_the_store),
		T(one_failure_leaves_its_neighbours),
		T(writes_end_in_the_order_they_came),
		T(a_close_waits_for_what_is_queued),
		T(a_write_while_closing_is_refused),
		T(newest_revisions_and_the_asked_one_stay),
		T(ten_thousand_events_are_trimmed),
		T(secrets_are_kept_replaced_and_removed),
		T(files_are_private_whatever_the_umask),
		T(an_acknowledged_write_survives_a_kill),
		T(a_full_disk_fails_the_batch_and_heals),
		T(a_full_file_system_fails_and_heals),
		T(what_cannot_be_read_is_named),
		T(every_older_version_is_brought_up),
		T(a_failed_migration_changes_nothing),
	};

	own_mounts = tmpdir_own_mounts();
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
