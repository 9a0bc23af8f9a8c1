#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/sha256.h"
#include "store/blob.h"
#include "tmpdir.h"

static bool own_mounts;

struct fixture {
	uv_loop_t loop;
	char *dir;
	struct blobs b;
	int n_done;
	int code;
	char text[ERR_MSG_MAX];
	char made[4096];
};

static int setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof *f);
	struct err err = {0};

	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->dir = tmpdir_make();
	assert_int_equal(blobs_init(&f->b, &f->loop, f->dir, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	blobs_fini(&f->b);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	tmpdir_remove(f->dir);
	free(f);
	return 0;
}

static void on_done(void *data, const struct err *err)
{
	struct fixture *f = data;

	f->n_done++;
	f->code = err ? err->code : 0;
	snprintf(f->text, sizeof f->text, "%s", err ? err->msg : "");
}

static void on_made(void *data, const char *dir, const struct err *err)
{
	struct fixture *f = data;

	on_done(data, err);
	assert_true((dir == NULL) == (err != NULL));
	snprintf(f->made, sizeof f->made, "%s", dir ? dir : "");
}

static void hash_of(const char *text, char out[65])
{
	struct sha256 sum;

	sha256_init(&sum);
	sha256_add(&sum, text, strlen(text));
	sha256_hex(&sum, out);
}

/* The whole way of an upload; the hash of the text is left in `hash`. */
static void upload(struct fixture *f, const char *text, char hash[65])
{
	struct blob_write *w;
	struct err err = {0};
	size_t half = strlen(text) / 2;

	hash_of(text, hash);
	assert_int_equal(blob_write_begin(&w, &f->b, hash, &err), 0);
	blob_write_append(w, text, half, on_done, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, 0);
	blob_write_append(w, text + half, strlen(text) - half, on_done, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	blob_write_commit(w, on_done, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, 0);
	assert_true(blob_has(&f->b, hash));
}

static char *blob_path(struct fixture *f, const char *hash)
{
	return mem_printf("%s/blobs/%.2s/%s", f->dir, hash, hash + 2);
}

static void check_mode(const char *dir, const char *name, mode_t mode)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_uid, geteuid());
}

static void check_file(const char *dir, const char *name, const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	cleanup_free char *data = NULL;
	size_t len;

	assert_int_equal(file_read(path, 1 << 20, &data, &len, NULL), 0);
	assert_string_equal(data, text);
}

/* Things in DIR/name that are half done. */
static int count_temps(struct fixture *f, const char *name)
{
	cleanup_free char *path = mem_printf("%s/%s", f->dir, name);
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += strncmp(e->d_name, ".tmp-", 5) == 0;
	closedir(d);
	return n;
}

static void an_upload_is_kept_by_its_hash(void **state)
{
	struct fixture *f = *state;
	char hash[65];
	cleanup_free char *path = NULL;

	upload(f, "hello, soma", hash);
	path = blob_path(f, hash);
	check_mode("", path, 0600);
	check_file("", path, "hello, soma");
	check_mode(f->dir, "blobs", 0700);
	upload(f, "hello, soma", hash); /* again is fine */
	upload(f, "", hash);
	assert_int_equal(count_temps(f, "blobs"), 0);
}

static void an_empty_upload_needs_no_append(void **state)
{
	struct fixture *f = *state;
	struct blob_write *w;
	struct err err = {0};
	char hash[65];

	hash_of("", hash);
	assert_int_equal(blob_write_begin(&w, &f->b, hash, &err), 0);
	blob_write_commit(w, on_done, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, 0);
	assert_true(blob_has(&f->b, hash));
}

static void other_bytes_are_refused(void **state)
{
	struct fixture *f = *state;
	struct blob_write *w;
	struct err err = {0};
	char hash[65];

	hash_of("what was promised", hash);
	assert_int_equal(blob_write_begin(&w, &f->b, hash, &err), 0);
	blob_write_append(w, "what came", 9, on_done, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	blob_write_commit(w, on_done, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, E_UNPROCESSABLE);
	assert_non_null(strstr(f->text, "the 9 bytes received have"));
	assert_non_null(strstr(f->text, hash));
	assert_false(blob_has(&f->b, hash));
	assert_int_equal(count_temps(f, "blobs"), 0);
}

static void only_a_hash_becomes_a_path(void **state)
{
	struct fixture *f = *state;
	struct blob_write *w;
	struct err err = {0};
	char hash[70];

	assert_int_equal(blob_write_begin(&w, &f->b, "../../etc", &err),
			 E_INVALID);
	assert_false(blob_hash_ok(NULL));
	assert_false(blob_hash_ok(""));
	hash_of("x", hash);
	assert_true(blob_hash_ok(hash));
	strcpy(hash + 64, "0");
	assert_false(blob_hash_ok(hash));
	hash[64] = 0;
	hash[3] = 'A';
	assert_false(blob_hash_ok(hash));
	hash[3] = '/';
	assert_false(blob_hash_ok(hash));
	assert_false(blob_has(&f->b, hash));
	assert_null(project_dir(&f->b, ".."));
}

static void an_abort_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct blob_write *w;
	struct err err = {0};
	char hash[65];

	hash_of("x", hash);
	assert_int_equal(blob_write_begin(&w, &f->b, hash, &err), 0);
	blob_write_abort(w); /* before anything */

	assert_int_equal(blob_write_begin(&w, &f->b, hash, &err), 0);
	blob_write_append(w, "x", 1, on_done, f);
	blob_write_abort(w); /* under way: its done does not come */
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->n_done, 0);

	assert_int_equal(blob_write_begin(&w, &f->b, hash, &err), 0);
	blob_write_append(w, "x", 1, on_done, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(count_temps(f, "blobs"), 1);
	blob_write_abort(w);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(count_temps(f, "blobs"), 0);
	assert_false(blob_has(&f->b, hash));
}

static void half_done_things_go_at_the_next_start(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *blob = mem_printf("%s/blobs/.tmp-abc", f->dir);
	cleanup_free char *tree = mem_printf("%s/projects/.tmp-x/a/b", f->dir);
	cleanup_free char *file =
		mem_printf("%s/projects/.tmp-x/a/b/c", f->dir);
	struct err err = {0};

	assert_int_equal(file_write(blob, "x", 1, 0600, &err), 0);
	assert_int_equal(file_mkdirs(tree, 0755, &err), 0);
	assert_int_equal(file_write(file, "x", 1, 0644, &err), 0);
	blobs_fini(&f->b);
	assert_int_equal(blobs_init(&f->b, &f->loop, f->dir, &err), 0);
	assert_int_equal(count_temps(f, "blobs"), 0);
	assert_int_equal(count_temps(f, "projects"), 0);
}

static void paths_that_leave_the_project_are_refused(void **state)
{
	char too_long[1100];

	(void)state;
	memset(too_long, 'a', sizeof too_long);
	too_long[1024] = '\0';
	assert_true(project_path_ok(too_long));
	too_long[1024] = 'a';
	too_long[1025] = '\0';
	assert_false(project_path_ok(too_long));
	assert_true(project_path_ok("a"));
	assert_true(project_path_ok("a/b..c/.d/..."));
	assert_false(project_path_ok(NULL));
	assert_false(project_path_ok(""));
	assert_false(project_path_ok("/a"));
	assert_false(project_path_ok("a//b"));
	assert_false(project_path_ok("a/"));
	assert_false(project_path_ok("../a"));
	assert_false(project_path_ok("a/../b"));
	assert_false(project_path_ok("a/.."));
	assert_false(project_path_ok("./a"));
}

static void a_project_is_a_tree_that_all_can_read(void **state)
{
	struct fixture *f = *state;
	char py[65], sh[65], hash[65], other[65];
	mode_t was = umask(0077);
	struct project_file files[] = {
		{"predictor.py", py, 0600},
		{"lib/deep/run.sh", sh, 0700},
		{"lib/a.py", py, 0664},
	};
	struct project_file swapped[] = {files[2], files[0], files[1]};

	upload(f, "print('hi')", py);
	upload(f, "#!/bin/sh", sh);
	project_hash(files, 3, hash);
	project_hash(swapped, 3, other);
	assert_string_equal(hash, other);
	assert_null(project_dir(&f->b, hash));
	project_make(&f->b, files, 3, on_made, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	umask(was);
	assert_int_equal(f->code, 0);
	check_file(f->made, "predictor.py", "print('hi')");
	check_file(f->made, "lib/deep/run.sh", "#!/bin/sh");
	check_mode(f->made, "", 0755);
	check_mode(f->made, "lib", 0755);
	check_mode(f->made, "lib/deep", 0755);
	check_mode(f->made, "predictor.py", 0644);
	check_mode(f->made, "lib/a.py", 0644);
	check_mode(f->made, "lib/deep/run.sh", 0755);
	check_mode(f->dir, "projects", 0755);
	{
		cleanup_free char *dir = project_dir(&f->b, hash);

		assert_string_equal(dir, f->made);
		assert_int_equal(dir[0], '/');
	}

	files[0].mode = 0644; /* of the same class: the same project */
	project_hash(files, 3, other);
	assert_string_equal(hash, other);
	files[0].mode = 0755;
	project_hash(files, 3, other);
	assert_string_not_equal(hash, other);
	files[0].mode = 0644;
	files[0].path = "predictor.pyx";
	project_hash(files, 3, other);
	assert_string_not_equal(hash, other);
}

static void a_missing_blob_is_named(void **state)
{
	struct fixture *f = *state;
	char there[65], missing[65], hash[65];
	struct project_file files[] = {{"a.py", there, 0644},
				       {"lib/b.py", missing, 0644}};

	upload(f, "a", there);
	hash_of("b", missing);
	project_make(&f->b, files, 2, on_made, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, E_NOTFOUND);
	assert_non_null(strstr(f->text, "'lib/b.py'"));
	assert_non_null(strstr(f->text, missing));
	project_hash(files, 2, hash);
	assert_null(project_dir(&f->b, hash));
	assert_int_equal(count_temps(f, "projects"), 0);
}

static void a_bad_list_is_refused(void **state)
{
	struct fixture *f = *state;
	char hash[65];
	struct project_file files[] = {{"a", hash, 0644}, {"a/b", hash, 0644}};

	upload(f, "a", hash);
	project_make(&f->b, files, 2, on_made, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, E_INVALID);
	assert_non_null(strstr(f->text, "'a/b'"));
	files[1].path = "a";
	project_make(&f->b, files, 2, on_made, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, E_INVALID);
	files[1].path = "../b";
	project_make(&f->b, files, 2, on_made, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, E_INVALID);
	assert_int_equal(count_temps(f, "projects"), 0);
}

static void many_may_make_the_same_project(void **state)
{
	struct fixture *f = *state;
	char hash[65], all[65];
	cleanup_free char *dir = NULL;
	static char paths[400][24]; /* enough for one sync of all */
	static struct project_file files[400];

	upload(f, "a", hash);
	for (int i = 0; i < 400; i++) {
		snprintf(paths[i], sizeof paths[i], "d%d/f%d", i % 7, i);
		files[i] = (struct project_file){paths[i], hash, 0644};
	}
	for (int i = 0; i < 12; i++)
		project_make(&f->b, files, i < 6 ? 20 : 400, on_made, f);
	f->n_done = 0;
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->n_done, 12);
	assert_int_equal(f->code, 0);
	/* Whichever was made last. */
	project_hash(files, 400, all);
	dir = project_dir(&f->b, all);
	assert_non_null(dir);
	check_file(dir, "d0/f399", "a");
	assert_int_equal(count_temps(f, "projects"), 0);
}

static void make_old(const char *path)
{
	struct timespec old[2] = {{.tv_sec = time(NULL) - 7200},
				  {.tv_sec = time(NULL) - 7200}};

	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
}

static void on_gc(void *data)
{
	((struct fixture *)data)->n_done++;
}

static void gc_takes_what_nothing_needs(void **state)
{
	struct fixture *f = *state;
	char used[65], stale[65], fresh[65], hash[2][65];
	struct project_file kept = {"a", used, 0644};
	struct project_file dropped = {"b", stale, 0644};
	const char *keep[1];

	upload(f, "used", used);
	upload(f, "stale", stale);
	upload(f, "fresh", fresh);
	project_hash(&kept, 1, hash[0]);
	project_hash(&dropped, 1, hash[1]);
	project_make(&f->b, &kept, 1, on_made, f);
	project_make(&f->b, &dropped, 1, on_made, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	keep[0] = hash[0];

	/* All young: a deploy may be on its way. */
	f->n_done = 0;
	blobs_gc(&f->b, keep, 1, on_gc, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->n_done, 1);
	assert_true(blob_has(&f->b, stale));

	for (int i = 0; i < 2; i++) {
		cleanup_free char *dir = project_dir(&f->b, hash[i]);
		cleanup_free char *path = blob_path(f, i ? stale : used);

		make_old(dir);
		make_old(path);
	}
	blobs_gc(&f->b, keep, 1, NULL, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_true(blob_has(&f->b, used));
	assert_false(blob_has(&f->b, stale));
	assert_true(blob_has(&f->b, fresh));
	assert_null(project_dir(&f->b, hash[1]));
	{
		cleanup_free char *dir = project_dir(&f->b, hash[0]);

		assert_non_null(dir);
	}
}

static void a_full_disk_leaves_nothing_half_done(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *big = mem_alloc(600001);
	struct blob_write *w;
	struct err err = {0};
	char hash[65];
	struct project_file files[] = {{"a", hash, 0644}, {"b", hash, 0644}};

	blobs_fini(&f->b);
	if (!tmpdir_mount_small(own_mounts, f->dir, "1m")) {
		assert_int_equal(blobs_init(&f->b, &f->loop, f->dir, &err), 0);
		skip();
	}
	assert_int_equal(blobs_init(&f->b, &f->loop, f->dir, &err), 0);
	memset(big, 'x', 600000);
	upload(f, big, hash);

	project_make(&f->b, files, 2, on_made, f); /* takes 1.2 MB more */
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, E_NOSPACE);
	assert_non_null(strstr(f->text, f->b.dir));
	assert_non_null(strstr(f->text, "free some space"));
	assert_int_equal(count_temps(f, "projects"), 0);

	hash_of("other", hash);
	assert_int_equal(blob_write_begin(&w, &f->b, hash, &err), 0);
	blob_write_append(w, big, 600000, on_done, f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, E_NOSPACE);
	assert_int_equal(count_temps(f, "blobs"), 0);
	blob_write_commit(w, on_done, f); /* stays failed */
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->code, E_NOSPACE);

	upload(f, "a small one still fits", hash);
	umount2(f->dir, MNT_DETACH);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_upload_is_kept_by_its_hash),
		T(an_empty_upload_needs_no_append),
		T(other_bytes_are_refused),
		T(only_a_hash_becomes_a_path),
		T(an_abort_leaves_nothing),
		T(half_done_things_go_at_the_next_start),
		T(paths_that_leave_the_project_are_refused),
		T(a_project_is_a_tree_that_all_can_read),
		T(a_missing_blob_is_named),
		T(a_bad_list_is_refused),
		T(many_may_make_the_same_project),
		T(gc_takes_what_nothing_needs),
		T(a_full_disk_leaves_nothing_half_done),
	};

	own_mounts = tmpdir_own_mounts();
	return cmocka_run_group_tests_name("blob", tests, NULL, NULL);
}
