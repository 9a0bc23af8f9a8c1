/* Which files a model has, how much of them is in the page cache, and reading
 * them ahead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "tmpdir.h"
#include "warm/warm.h"

#define MIB ((uint64_t)1 << 20)

static char *dir;

static int set_up(void **state)
{
	(void)state;
	dir = tmpdir_make();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tmpdir_remove(dir);
	return 0;
}

static char *in_dir(const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

/* On the disk, and not in the page cache where that can be. */
static void put(const char *name, uint64_t bytes)
{
	cleanup_free char *path = in_dir(name);
	cleanup_free char *block = mem_alloc(MIB);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	memset(block, 'x', MIB);
	for (uint64_t at = 0; at < bytes; at += MIB)
		assert_int_equal(write(fd, block, MIN(MIB, bytes - at)),
				 MIN(MIB, bytes - at));
	assert_int_equal(fsync(fd), 0);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

static void put_dir(const char *name)
{
	cleanup_free char *path = in_dir(name);

	assert_int_equal(mkdir(path, 0755), 0);
}

/* names: below dir, with spaces between. */
static void has(const struct warm_files *f, const char *names)
{
	cleanup_free char *all = mem_strdup("");

	for (size_t i = 0; i < f->n; i++) {
		char *longer = mem_printf("%s%s%s", all, i ? " " : "",
					  f->items[i].path + strlen(dir) + 1);

		free(all);
		all = longer;
	}
	assert_string_equal(all, names);
}

static void a_models_files(void **state)
{
	cleanup_free char *out = in_dir("out"), *in = in_dir("in/link");
	const char *const both[] = {dir, NULL};
	struct warm_files f;

	(void)state;
	put_dir("in");
	put("b", 2 * MIB);
	put("a", 3 * MIB);
	put("in/c", MIB);
	put("small", MIB - 1);
	assert_int_equal(symlink("../b", in), 0);
	/* What a pipe would give nobody waits for. */
	assert_int_equal(mkfifo(out, 0644), 0);
	warm_files_find(&f, both, NULL);
	has(&f, "a b in/c in/link");
	assert_true(f.bytes == 8 * MIB && f.whole);
	warm_files_fini(&f);
	/* Once more, by one of its files. */
	warm_files_find(&f, (const char *const[]){in, NULL}, NULL);
	has(&f, "in/link");
	warm_files_fini(&f);
}

static void safetensors_are_enough(void **state)
{
	const char *const paths[] = {dir, NULL};
	struct warm_files f;

	(void)state;
	put("pytorch_model.bin", MIB);
	put("vocabulary", MIB);
	warm_files_find(&f, paths, NULL);
	has(&f, "pytorch_model.bin vocabulary");
	warm_files_fini(&f);
	put("model.safetensors", MIB);
	put("model.onnx", MIB);
	warm_files_find(&f, paths, NULL);
	has(&f, "model.safetensors vocabulary");
	assert_true(f.bytes == 2 * MIB);
	warm_files_fini(&f);
}

static void what_is_not_there_is_no_file(void **state)
{
	cleanup_free char *none = in_dir("none"), *loop = in_dir("loop");
	struct warm_files f;
	struct warm_look look;

	(void)state;
	warm_files_find(&f, (const char *const[]){none, NULL}, NULL);
	assert_true(!f.n && !f.whole);
	assert_true(warm_read(&f) == 0);
	warm_files_fini(&f);
	assert_int_equal(symlink("loop", loop), 0);
	look = warm_look((const char *const[]){loop, none, NULL}, UINT64_MAX,
			 NULL);
	assert_true(!look.bytes && !look.missing);
}

/* A folder of models: what one has in safetensors is not another's. */
static void each_folder_has_its_own_forms(void **state)
{
	const char *const paths[] = {dir, NULL};
	struct warm_files f;

	(void)state;
	put_dir("a");
	put_dir("b");
	put("a/model.safetensors", MIB);
	put("a/model.bin", MIB);
	put("b/model.onnx", MIB);
	warm_files_find(&f, paths, NULL);
	has(&f, "a/model.safetensors b/model.onnx");
	warm_files_fini(&f);
}

/* A link may lead to all of the machine, or round and round. */
static void no_folder_is_entered_by_a_link(void **state)
{
	cleanup_free char *all = in_dir("in/all"), *up = in_dir("in/up"),
			  *none = in_dir("in/none"), *link = in_dir("link"),
			  *in = in_dir("in");
	struct warm_files f;

	(void)state;
	put_dir("in");
	put("in/a", MIB);
	assert_int_equal(symlink("/", all), 0);
	assert_int_equal(symlink("..", up), 0);
	assert_int_equal(symlink("nowhere", none), 0);
	assert_int_equal(symlink("in", link), 0);
	warm_files_find(&f, (const char *const[]){in, NULL}, NULL);
	has(&f, "in/a");
	assert_true(f.whole);
	warm_files_fini(&f);
	/* The path itself may be one, as those that the daemon turns. */
	warm_files_find(&f, (const char *const[]){link, NULL}, NULL);
	has(&f, "link/a");
	warm_files_fini(&f);
}

static void no_walk_is_without_end(void **state)
{
	const char *const paths[] = {dir, NULL};
	cleanup_free char *deep = in_dir("d");
	const atomic_bool stop = true;
	struct warm_files f;

	(void)state;
	put("a", MIB);
	warm_files_find(&f, paths, &stop);
	assert_true(!f.n && !f.whole);
	warm_files_fini(&f);
	for (int i = 0; i < 40; i++) {
		char *deeper;

		assert_int_equal(mkdir(deep, 0755), 0);
		deeper = mem_printf("%s/d", deep);
		free(deep);
		deep = deeper;
	}
	warm_files_find(&f, paths, NULL);
	assert_true(f.n == 1 && !f.whole);
	warm_files_fini(&f);
}

static void no_more_names_than_a_model_has(void **state)
{
	const char *const paths[] = {dir, NULL};
	struct warm_files f;

	(void)state;
	for (int i = 0; i <= 100000; i++) {
		cleanup_free char *path = mem_printf("%s/%d", dir, i);

		assert_int_equal(symlink("nowhere", path), 0);
	}
	warm_files_find(&f, paths, NULL);
	assert_true(!f.n && !f.whole);
	warm_files_fini(&f);
}

static void read_ahead(void **state)
{
	const char *const paths[] = {dir, NULL};
	struct warm_look look;
	struct warm_files f;

	(void)state;
	put("a", 40 * MIB);
	put("b", 9 * MIB + 4711);
	look = warm_look(paths, UINT64_MAX, NULL);
	assert_true(look.bytes == 49 * MIB + 4711);
	if (look.missing < 40 * MIB)
		skip(); /* of memory, or one that keeps all */
	/* What there is no room for is not looked at. */
	look = warm_look(paths, look.bytes - 1, NULL);
	assert_true(look.bytes == 49 * MIB + 4711 && !look.missing);
	warm_files_find(&f, paths, NULL);
	assert_true(warm_read(&f) == f.bytes);
	warm_files_fini(&f);
	look = warm_look(paths, UINT64_MAX, NULL);
	assert_true(look.missing == 0);
}

/* By samples: what is missing of a part of it is found. */
static void a_part_is_missing(void **state)
{
	cleanup_free char *path = in_dir("a");
	const char *const paths[] = {path, NULL};
	struct warm_look look;
	struct warm_files f;
	int fd;

	(void)state;
	put("a", 64 * MIB);
	if (warm_look(paths, UINT64_MAX, NULL).missing < 60 * MIB)
		skip();
	warm_files_find(&f, paths, NULL);
	warm_read(&f);
	warm_files_fini(&f);
	fd = open(path, O_RDONLY);
	posix_fadvise(fd, 0, 16 * MIB, POSIX_FADV_DONTNEED);
	close(fd);
	look = warm_look(paths, UINT64_MAX, NULL);
	assert_true(look.missing >= 12 * MIB && look.missing <= 20 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_models_files, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(safetensors_are_enough, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(each_folder_has_its_own_forms,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_there_is_no_file,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_folder_is_entered_by_a_link,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_walk_is_without_end, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(no_more_names_than_a_model_has,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(read_ahead, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_part_is_missing, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
