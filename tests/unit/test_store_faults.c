#include "store_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool own_mounts;

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
	       "knows 4)");

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_acknowledged_write_survives_a_kill),
		T(a_full_disk_fails_the_batch_and_heals),
		T(a_full_file_system_fails_and_heals),
		T(what_cannot_be_read_is_named),
	};

	own_mounts = tmpdir_own_mounts();
	return cmocka_run_group_tests_name("store faults", tests, NULL, NULL);
}
