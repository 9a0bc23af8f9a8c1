#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "core/str.h"
#include "shelf_fixture.h"

static bool own_mounts;

/* As if it had been used so long ago. */
static void age_ref(struct shelf *s, const char *url, int64_t used_at)
{
	cleanup_free char *text = NULL, *path = NULL, *changed = NULL;
	char key[65], *at, *end;
	size_t len;

	hash_of(url, key);
	path = mem_printf("%s/refs/%s.json", s->dir, key);
	assert_int_equal(file_read(path, 1 << 20, &text, &len, NULL), 0);
	at = strstr(text, "\"used_at\":");
	assert_non_null(at);
	end = strchr(at, ',');
	assert_non_null(end);
	changed = mem_printf("%.*s\"used_at\":%lld%s", (int)(at - text), text,
			     (long long)used_at, end);
	assert_int_equal(file_write(path, changed, strlen(changed), 0600, NULL),
			 0);
}

/* ---- publishing ---- */

static void a_model_is_published(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = NULL;
	struct shelf_ref ref;
	struct err err = {0};
	struct stat st;
	char tree[65];

	assert_false(is_there(&f->s, "s3://b/m"));
	assert_int_equal(publish(&f->s, "s3://b/m", "weights", tree), 0);
	check_text(&f->s, tree, "config.json", "{}");
	check_text(&f->s, tree, "weights/w.bin", "weights");
	assert_int_equal(shelf_find(&f->s, "s3://b/m", &ref, &err), 0);
	assert_string_equal(ref.tree, tree);
	assert_string_equal(ref.etag, "\"1\"");
	assert_int_equal(ref.bytes, 9);
	assert_int_equal(ref.files, 2);
	assert_true(ref.used_at >= time(NULL) - 60);
	assert_true(shelf_whole(&f->s, &ref));
	shelf_ref_fini(&ref);
	path = in_tree(&f->s, tree, "weights/w.bin");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
	assert_int_equal(st.st_nlink, 2);
}

static void the_id_is_as_the_header_says(void **state)
{
	struct fixture *f = *state;
	char config[65], weights[65], tree[65], expected[65];
	cleanup_free char *lines = NULL;

	assert_int_equal(publish(&f->s, "s3://b/m", "weights", tree), 0);
	hash_of("{}", config);
	hash_of("weights", weights);
	lines = mem_printf("%s 2 config.json\n%s 7 weights/w.bin\n", config,
			   weights);
	hash_of(lines, expected);
	assert_string_equal(tree, expected);
}

static void what_is_the_same_is_there_once(void **state)
{
	struct fixture *f = *state;
	char one[65], two[65], other[65];
	cleanup_free char *a = NULL, *b = NULL;
	struct stat x, y;

	assert_int_equal(publish(&f->s, "s3://b/m", "weights", one), 0);
	assert_int_equal(publish(&f->s, "hf://o/m", "weights", two), 0);
	assert_int_equal(publish(&f->s, "s3://b/n", "others", other), 0);
	assert_string_equal(one, two);
	a = in_tree(&f->s, one, "config.json");
	b = in_tree(&f->s, other, "config.json");
	assert_int_equal(stat(a, &x), 0);
	assert_int_equal(stat(b, &y), 0);
	assert_int_equal(x.st_ino, y.st_ino);
}

static void what_cannot_be_a_tree_is_refused(void **state)
{
	static const char *const bad[] = {"../evil", "/evil", "a//b",
					  "a/../b",  "",      ".",
					  "a\nb",    "\033[", "\xc2\x9b"};
	struct fixture *f = *state;
	struct err err = {0};
	char hash[65], tree[65];

	assert_int_equal(put(&f->s, "x", hash), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(
			shelf_publish(&f->s, "s3://b/m", NULL,
				      &(struct shelf_file){bad[i], hash, 1}, 1,
				      tree, &err),
			E_INVALID);
	assert_int_equal(shelf_publish(&f->s, "s3://b/m", NULL,
				       (struct shelf_file[]){{"a", hash, 1},
							     {"a/b", hash, 1}},
				       2, tree, &err),
			 E_INVALID);
	assert_non_null(strstr(err.msg, "both as a file and as a folder"));
	assert_int_equal(shelf_publish(&f->s, "s3://b/m", NULL,
				       (struct shelf_file[]){{"a", hash, 1},
							     {"a", hash, 1}},
				       2, tree, &err),
			 E_INVALID);
	assert_int_equal(
		shelf_publish(&f->s, "s3://b/m", NULL, NULL, 0, tree, &err),
		E_INVALID);
	/* Of another size than what is there. */
	assert_int_equal(shelf_publish(&f->s, "s3://b/m", NULL,
				       &(struct shelf_file){"a", hash, 2}, 1,
				       tree, &err),
			 E_NOTFOUND);
	assert_false(is_there(&f->s, "s3://b/m"));
	assert_int_equal(count(f->dir), 0);
}

static void one_url_by_two_ways_is_two_models(void **state)
{
	static const char via[] = "0123456789abcdef0123456789abcdef"
				  "0123456789abcdef0123456789abcdef";
	struct fixture *f = *state;
	cleanup_free char *name = shelf_name("s3://b/m", via), *again = NULL;
	char one[65], two[65];
	struct shelf_ref ref;
	struct err err = {0};

	assert_int_equal(publish(&f->s, "s3://b/m", "a", one), 0);
	assert_false(is_there(&f->s, name));
	assert_int_equal(publish(&f->s, name, "b", two), 0);
	assert_int_equal(shelf_find(&f->s, "s3://b/m", &ref, &err), 0);
	assert_string_equal(ref.tree, one);
	assert_string_equal(ref.via, "");
	shelf_ref_fini(&ref);
	assert_int_equal(shelf_used(&f->s, name, &err), 0);
	assert_int_equal(shelf_find(&f->s, name, &ref, &err), 0);
	assert_string_equal(ref.tree, two);
	assert_string_equal(ref.url, "s3://b/m");
	again = shelf_ref_name(&ref);
	assert_string_equal(again, name);
	shelf_ref_fini(&ref);
	assert_int_equal(shelf_remove(&f->s, name, &err), 0);
	assert_true(is_there(&f->s, "s3://b/m"));
	assert_int_equal(publish(&f->s, "s3://b/m\nx", "a", one), -1);
}

/* ---- gc ---- */

static void gc_takes_what_nobody_needs(void **state)
{
	struct fixture *f = *state;
	struct shelf_gc told;
	struct err err = {0};
	char keep[65], go[65];
	cleanup_free char *gone = NULL;

	assert_int_equal(publish(&f->s, "s3://b/keep", "kept", keep), 0);
	assert_int_equal(publish(&f->s, "s3://b/go", "gone!", go), 0);
	assert_int_equal(shelf_remove(&f->s, "s3://b/go", &err), 0);
	assert_int_equal(shelf_remove(&f->s, "s3://b/go", &err), E_NOTFOUND);
	/* Nobody but gc removes a tree. */
	check_text(&f->s, go, "weights/w.bin", "gone!");
	assert_int_equal(shelf_gc(&f->s, 0, NULL, 0, &told, &err), 0);
	assert_int_equal(told.trees, 1);
	assert_int_equal(told.refs, 0);
	assert_int_equal(told.freed, 5);
	assert_int_equal(told.left, 6); /* "{}" is in both */
	gone = shelf_tree_path(&f->s, go);
	assert_int_equal(access(gone, F_OK), -1);
	assert_false(has_text(&f->s, "gone!"));
	check_whole(&f->s, "s3://b/keep", "kept");
}

static void gc_leaves_a_tree_in_use(void **state)
{
	struct fixture *f = *state;
	struct shelf_gc told;
	struct err err = {0};
	char tree[65];
	const char *in_use[] = {tree};

	assert_int_equal(publish(&f->s, "s3://b/m", "weights", tree), 0);
	assert_int_equal(shelf_remove(&f->s, "s3://b/m", &err), 0);
	assert_int_equal(shelf_gc(&f->s, 1, in_use, 1, &told, &err), 0);
	assert_int_equal(told.trees, 0);
	check_text(&f->s, tree, "weights/w.bin", "weights");
	assert_true(has_text(&f->s, "weights"));
	assert_int_equal(shelf_gc(&f->s, 0, NULL, 0, &told, &err), 0);
	assert_int_equal(told.trees, 1);
	assert_int_equal(told.left, 0);
}

static void above_the_budget_the_longest_unused_goes(void **state)
{
	struct fixture *f = *state;
	struct shelf_gc told;
	struct err err = {0};
	char a[65], b[65], c[65];
	const char *in_use[] = {a};

	assert_int_equal(publish(&f->s, "s3://b/a", "aaaaaaaaaa", a), 0);
	assert_int_equal(publish(&f->s, "s3://b/b", "bbbbbbbbbb", b), 0);
	assert_int_equal(publish(&f->s, "s3://b/c", "cccccccccc", c), 0);
	age_ref(&f->s, "s3://b/a", 100);
	age_ref(&f->s, "s3://b/b", 200);
	age_ref(&f->s, "s3://b/c", 150);
	assert_int_equal(shelf_used(&f->s, "s3://b/c", &err), 0);
	/* 32 bytes: 22 are to be there. a is oldest and in use. */
	assert_int_equal(shelf_gc(&f->s, 22, in_use, 1, &told, &err), 0);
	assert_int_equal(told.refs, 1);
	assert_int_equal(told.left, 22);
	assert_true(is_there(&f->s, "s3://b/a"));
	assert_false(is_there(&f->s, "s3://b/b"));
	assert_true(is_there(&f->s, "s3://b/c"));
	/* What is in use stays, however small the budget. */
	assert_int_equal(shelf_gc(&f->s, 1, in_use, 1, &told, &err), 0);
	assert_true(is_there(&f->s, "s3://b/a"));
	assert_false(is_there(&f->s, "s3://b/c"));
	assert_int_equal(told.left, 12);
}

static void gc_leaves_what_a_pull_relies_on(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *parts = shelf_parts_path(&f->s, "s3://b/m");
	cleanup_free char *note = mem_printf("%s/0.json", parts);
	cleanup_free char *text = NULL;
	struct timeval old[2] = {{time(NULL) - 90000, 0},
				 {time(NULL) - 90000, 0}};
	struct err err = {0};
	char hash[65];

	assert_int_equal(put(&f->s, "so far", hash), 0);
	assert_int_equal(mkdir(parts, 0700), 0);
	text = mem_printf("{\"done\":\"%s\"}", hash);
	assert_int_equal(file_write(note, text, strlen(text), 0600, &err), 0);
	assert_int_equal(shelf_gc(&f->s, 0, NULL, 0, NULL, &err), 0);
	assert_true(has_text(&f->s, "so far"));
	assert_int_equal(access(note, F_OK), 0);
	/* Nobody has gone on with it for a day. */
	assert_int_equal(utimes(parts, old), 0);
	assert_int_equal(shelf_gc(&f->s, 0, NULL, 0, NULL, &err), 0);
	assert_int_equal(access(parts, F_OK), -1);
	assert_false(has_text(&f->s, "so far"));
}

/* ---- verifying ---- */

static void flip(const char *path, off_t at)
{
	struct stat st;
	int fd;
	char c;

	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 1;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
	assert_int_equal(chmod(path, 0444), 0);
	assert_int_equal(stat(path, &st), 0);
}

static bool on_progress(void *data, uint64_t done, uint64_t total)
{
	uint64_t *last = data;

	assert_true(done > *last && done <= total);
	*last = done;
	return true;
}

static bool not_further(void *data, uint64_t done, uint64_t total)
{
	on_progress(data, done, total);
	return false;
}

static void verifying_can_be_ended(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	uint64_t last = 0;
	char tree[65];
	char *bad = NULL;

	assert_int_equal(publish(&f->s, "s3://b/m", "weights", tree), 0);
	assert_int_equal(
		shelf_verify(&f->s, "s3://b/m", not_further, &last, &bad, &err),
		E_CANCELED);
	assert_null(bad);
	assert_true(last == 2 || last == 7); /* one of the two files */
	check_whole(&f->s, "s3://b/m", "weights");
}

static void a_flipped_bit_is_found_and_mended(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = NULL;
	struct err err = {0};
	struct shelf_ref ref;
	uint64_t last = 0;
	char tree[65], again[65];
	char *bad = NULL;

	assert_int_equal(publish(&f->s, "s3://b/m", "weights", tree), 0);
	assert_int_equal(
		shelf_verify(&f->s, "s3://b/m", on_progress, &last, &bad, &err),
		0);
	assert_null(bad);
	assert_int_equal(last, 9);
	path = in_tree(&f->s, tree, "weights/w.bin");
	flip(path, 3);
	assert_int_equal(
		shelf_verify(&f->s, "s3://b/m", NULL, NULL, &bad, &err), 0);
	assert_string_equal(bad, "weights/w.bin");
	free(bad);
	/* It is linked no more, and the model counts as not whole. */
	assert_false(has_text(&f->s, "weights"));
	assert_int_equal(shelf_find(&f->s, "s3://b/m", &ref, &err), 0);
	assert_false(shelf_whole(&f->s, &ref));
	shelf_ref_fini(&ref);
	/* Another pull mends it, at the same place. */
	assert_int_equal(publish(&f->s, "s3://b/m", "weights", again), 0);
	assert_string_equal(again, tree);
	check_whole(&f->s, "s3://b/m", "weights");
}

static void what_is_missing_is_bad(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = NULL;
	struct err err = {0};
	char tree[65];
	char *bad = NULL;

	assert_int_equal(
		shelf_verify(&f->s, "s3://b/m", NULL, NULL, &bad, &err),
		E_NOTFOUND);
	assert_int_equal(publish(&f->s, "s3://b/m", "weights", tree), 0);
	path = in_tree(&f->s, tree, "config.json");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(
		shelf_verify(&f->s, "s3://b/m", NULL, NULL, &bad, &err), 0);
	assert_string_equal(bad, "config.json");
	free(bad);
}

static void a_damaged_manifest_is_mended(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = NULL, *was = NULL, *is = NULL;
	struct shelf_ref ref;
	struct err err = {0};
	char tree[65], again[65];
	size_t len;

	assert_int_equal(publish(&f->s, "s3://b/m", "weights", tree), 0);
	path = mem_printf("%s/trees/%s.json", f->s.dir, tree);
	assert_int_equal(file_read(path, 1 << 20, &was, &len, &err), 0);
	assert_int_equal(truncate(path, (off_t)len / 2), 0);
	assert_int_equal(shelf_find(&f->s, "s3://b/m", &ref, &err), 0);
	assert_false(shelf_whole(&f->s, &ref));
	assert_int_equal(publish(&f->s, "s3://b/m", "weights", again), 0);
	assert_string_equal(again, tree);
	assert_true(shelf_whole(&f->s, &ref));
	assert_int_equal(file_read(path, 1 << 20, &is, &len, &err), 0);
	assert_string_equal(is, was);
	shelf_ref_fini(&ref);
}

/* ---- disks ---- */

static void a_full_disk_is_named_with_numbers(void **state)
{
	cleanup_free char *dir = NULL, *from = NULL, *filler = NULL;
	cleanup_free char *zeros = mem_alloc(4 << 20);
	struct err err = {0};
	struct shelf s;
	char *above = tmpdir_make();
	char hash[65], tree[65];
	int rc = 0;

	(void)state;
	if (!tmpdir_mount_small(own_mounts, above, "1m")) {
		tmpdir_remove(above);
		return;
	}
	dir = mem_printf("%s/models", above);
	assert_int_equal(shelf_open(&s, dir, &err), 0);
	assert_int_equal(put(&s, "x", hash), 0);
	filler = mem_printf("%s/filler", above);
	from = mem_printf("%s/more", above);
	file_write(filler, zeros, 1 << 19, 0600, NULL);
	for (size_t n = 1 << 18; n >= 256; n /= 2) {
		int fd = open(from, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			      0600);

		while (write(fd, zeros, n) == (ssize_t)n)
			;
		close(fd);
	}
	rc = shelf_publish(&s, "s3://b/m", NULL,
			   &(struct shelf_file){"a", hash, 1}, 1, tree, &err);
	assert_int_equal(rc, E_NOSPACE);
	assert_non_null(strstr(err.msg, "are free"));
	assert_non_null(strstr(err.msg, s.dir));
	assert_int_equal(unlink(from), 0);
	assert_int_equal(shelf_publish(&s, "s3://b/m", NULL,
				       &(struct shelf_file){"a", hash, 1}, 1,
				       tree, &err),
			 0);
	shelf_close(&s);
	umount2(above, MNT_DETACH);
	tmpdir_remove(above);
}

static void the_folder_above_is_not_made(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *dir = mem_printf("%s/not/there", f->dir);
	struct err err = {0};
	struct shelf s;

	assert_int_equal(shelf_open(&s, dir, &err), E_INVALID);
	assert_non_null(strstr(err.msg, dir));
	assert_non_null(strstr(err.msg, "make it"));
}

static int each_counts(void *data, const struct shelf_ref *r)
{
	size_t *n = data;

	assert_non_null(r->url);
	++*n;
	return 0;
}

static void all_refs_are_listed(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	char tree[65];
	size_t n = 0;

	assert_int_equal(publish(&f->s, "s3://b/1", "a", tree), 0);
	assert_int_equal(publish(&f->s, "s3://b/2", "a", tree), 0);
	assert_int_equal(publish(&f->s, "https://u:p@h/f?sig=1", "b", tree), 0);
	assert_int_equal(shelf_each(&f->s, each_counts, &n, &err), 0);
	assert_int_equal(n, 3);
	age_ref(&f->s, "s3://b/1", 5);
	assert_int_equal(shelf_checked(&f->s, "s3://b/1", &err), 0);
	assert_int_equal(shelf_used(&f->s, "s3://b/3", &err), E_NOTFOUND);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_model_is_published),
		T(the_id_is_as_the_header_says),
		T(what_is_the_same_is_there_once),
		T(what_cannot_be_a_tree_is_refused),
		T(one_url_by_two_ways_is_two_models),
		T(gc_takes_what_nobody_needs),
		T(gc_leaves_a_tree_in_use),
		T(above_the_budget_the_longest_unused_goes),
		T(gc_leaves_what_a_pull_relies_on),
		T(a_flipped_bit_is_found_and_mended),
		T(verifying_can_be_ended),
		T(what_is_missing_is_bad),
		T(a_damaged_manifest_is_mended),
		T(all_refs_are_listed),
		T(the_folder_above_is_not_made),
		cmocka_unit_test(a_full_disk_is_named_with_numbers),
	};
#undef T

	own_mounts = tmpdir_own_mounts();
	return cmocka_run_group_tests_name("shelf", tests, NULL, NULL);
}
