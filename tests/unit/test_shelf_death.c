/* A shelf's process that ends before any step that changes the disk, and many
 * at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shelf_fixture.h"

/* What changes a disk goes through here (the linker's --wrap): before the step
 * of this number the process is gone. 0: never. */
static int die_at, steps;

static void step(void)
{
	if (++steps == die_at)
		_exit(42);
}

#define WRAP(name, params, args)                                               \
	int __real_##name params;                                              \
	int __wrap_##name params;                                              \
	int __wrap_##name params                                               \
	{                                                                      \
		step();                                                        \
		return __real_##name args;                                     \
	}

WRAP(rename, (const char *from, const char *to), (from, to))
WRAP(link, (const char *from, const char *to), (from, to))
WRAP(symlink, (const char *to, const char *at), (to, at))
WRAP(mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(fsync, (int fd), (fd))
WRAP(unlink, (const char *path), (path))
WRAP(unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
WRAP(remove, (const char *path), (path))

/* Publishes in a child that dies at a step. True: it did not get that far. */
static bool publish_and_die(struct fixture *f, const char *url,
			    const char *text, int at)
{
	char tree[65];
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		steps = 0;
		die_at = at;
		_exit(publish(&f->s, url, text, tree) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 42)
		return false;
	assert_int_equal(WEXITSTATUS(status), 0);
	return true;
}

static void reopen(struct fixture *f)
{
	cleanup_free char *dir = mem_strdup(f->s.dir);
	struct err err = {0};

	shelf_close(&f->s);
	assert_int_equal(shelf_open(&f->s, dir, &err), 0);
}

/* Dead at any step, the model is there whole or not at all; another try has
 * it; nothing half done is left. */
static void a_death_at_any_step_shows_nothing_half(void **state)
{
	struct fixture *f = *state;
	int seen = 0, at = 1;
	bool through = false;

	for (; !through; at++) {
		cleanup_free char *url = mem_printf("hf://o/m%d", at);
		cleanup_free char *text = mem_printf("weights %d", at);

		through = publish_and_die(f, url, text, at);
		reopen(f);
		assert_int_equal(count(f->dir), 0);
		if (is_there(&f->s, url)) {
			check_whole(&f->s, url, text);
			seen++;
		}
		assert_true(publish_and_die(f, url, text, 0));
		check_whole(&f->s, url, text);
	}
	assert_true(at > 12);
	assert_true(seen >= 1);
}

/* The same for a new version of a model that is there: old or new. */
static void a_death_at_any_step_leaves_the_old_one(void **state)
{
	struct fixture *f = *state;
	bool through = false;

	assert_true(publish_and_die(f, "s3://b/m", "old", 0));
	for (int at = 1; !through; at++) {
		cleanup_free char *text = mem_printf("new %d", at);
		struct shelf_ref ref;
		struct err err = {0};

		through = publish_and_die(f, "s3://b/m", text, at);
		reopen(f);
		assert_int_equal(shelf_find(&f->s, "s3://b/m", &ref, &err), 0);
		assert_true(shelf_whole(&f->s, &ref));
		shelf_ref_fini(&ref);
		if (through)
			check_whole(&f->s, "s3://b/m", text);
	}
}

static void a_gc_that_dies_at_any_step_harms_nothing(void **state)
{
	struct fixture *f = *state;
	bool through = false;

	assert_true(publish_and_die(f, "s3://b/keep", "kept", 0));
	for (int at = 1; !through; at++) {
		int status;
		pid_t pid;

		assert_true(publish_and_die(f, "s3://b/go", "gone", 0));
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			steps = 0;
			die_at = at;
			_exit(shelf_remove(&f->s, "s3://b/go", NULL) == 0 &&
					      shelf_gc(&f->s, 0, NULL, 0, NULL,
						       NULL) == 0
				      ? 0
				      : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 1);
		through = WEXITSTATUS(status) == 0;
		reopen(f);
		assert_int_equal(count(f->dir), 0);
		check_whole(&f->s, "s3://b/keep", "kept");
		if (is_there(&f->s, "s3://b/go"))
			check_whole(&f->s, "s3://b/go", "gone");
	}
	assert_false(is_there(&f->s, "s3://b/go"));
	assert_false(has_text(&f->s, "gone"));
}

static void many_may_publish_the_same_at_once(void **state)
{
	struct fixture *f = *state;
	pid_t pids[6];

	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			cleanup_free char *url = mem_printf("s3://b/%zu", i);
			char tree[65];
			int rc = 0;

			for (int n = 0; rc == 0 && n < 20; n++)
				rc = publish(&f->s, i % 2 ? "s3://b/m" : url,
					     "weights", tree);
			_exit(rc == 0 ? 0 : 1);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	check_whole(&f->s, "s3://b/m", "weights");
	check_whole(&f->s, "s3://b/0", "weights");
	reopen(f);
	assert_int_equal(count(f->dir), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_death_at_any_step_shows_nothing_half),
		T(a_death_at_any_step_leaves_the_old_one),
		T(a_gc_that_dies_at_any_step_harms_nothing),
		T(many_may_publish_the_same_at_once),
	};
#undef T

	return cmocka_run_group_tests_name("shelf_death", tests, NULL, NULL);
}
