#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "box/options.h"
#include "box/reach.h"
#include "box_fixture.h"
#include "tmpdir.h"

enum { NOBODY = 65534 };

/* --- options ---------------------------------------------------------- */

static int parse(struct box_options *o, struct fail *f, const char *line)
{
	static char text[1024];
	static char *argv[64];
	int argc = 0;
	char *save = NULL;

	snprintf(text, sizeof text, "box %s", line);
	for (char *p = strtok_r(text, " ", &save); p;
	     p = strtok_r(NULL, " ", &save))
		argv[argc++] = p;
	argv[argc] = NULL;
	return options_parse(o, argc, argv, f);
}

static void options_are_read(void **state)
{
	struct box_options o;
	struct fail f;

	(void)state;
	assert_int_equal(parse(&o, &f,
			       "--name iris-4-0 --uid 61187 --need=/a --need "
			       "/b --oom-score-adj -17 -- prog --uid 3"),
			 0);
	assert_string_equal(o.name, "iris-4-0");
	assert_int_equal(o.uid, 61187);
	assert_int_equal(o.gid, 61187);
	assert_int_equal(o.oom_score_adj, -17);
	assert_true(o.has_oom_score_adj);
	assert_int_equal(o.needs.n, 2);
	assert_string_equal(o.needs.item[1], "/b");
	assert_string_equal(o.program[0], "prog");
	assert_string_equal(o.program[1], "--uid");
	assert_int_equal(o.status_fd, 5);
}

static void wrong_options_are_named(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{"--uid x -- p", "--uid wants a number from 0"},
		{"--uid -1 -- p", "not '-1'"},
		{"--uid 99999999999 -- p", "not '99999999999'"},
		{"--nosuch 1 -- p", "unknown option '--nosuch'"},
		{"--report=1", "unknown option '--report=1'"},
		{"--uid", "--uid wants N"},
		{"--need rel -- p", "absolute path, not 'rel'"},
		{"--uid 5", "no program to run"},
		{"--uid 5 --", "no program to run"},
	};
	struct box_options o;
	struct fail f;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(parse(&o, &f, cases[i].line), -1);
		assert_string_equal(f.step, "options");
		assert_non_null(strstr(f.message, cases[i].says));
	}
}

/* --- reach ------------------------------------------------------------ */

static void reach_names_the_first_that_blocks(void **state)
{
	char *dir = tmpdir_make();
	cleanup_free char *real = realpath(dir, NULL);
	cleanup_free char *shut = mem_printf("%s/shut", real);
	cleanup_free char *deep = mem_printf("%s/shut/a/b/file", real);
	cleanup_free char *link = mem_printf("%s/link", real);
	cleanup_free char *path = mem_printf("%s/link/b/../b/./file", real);
	char words[512];
	struct reach r;

	(void)state;
	chmod(dir, 0755);
	put(dir, "shut/a/b/file", "x");
	put(dir, "open/file", "x");
	assert_int_equal(symlink("shut/a", link), 0);
	assert_int_equal(reach_check(path, R_OK, &r), REACH_OK);
	assert_string_equal(r.where, deep);

	chmod(shut, 0700);
	/* Root is let in everywhere. */
	if (geteuid() == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	else
		chmod(shut, 0600);
	assert_int_equal(reach_check(path, R_OK, &r), REACH_BLOCKED);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_string_equal(r.where, shut);
	assert_int_equal(r.sys, EACCES);
	if (getuid() == 0) {
		cleanup_free char *says = mem_printf(
			"%s is only for its owner (mode 0700)", shut);

		assert_string_equal(reach_words(&r, words, sizeof words), says);
		assert_non_null(strstr(reach_remedy(&r, words, sizeof words),
				       "chmod o+x"));
	}
	chmod(shut, 0755);
	tmpdir_remove(dir);
}

static void reach_tells_the_kinds_apart(void **state)
{
	char *dir = tmpdir_make();
	cleanup_free char *file = mem_printf("%s/file", dir);
	cleanup_free char *below = mem_printf("%s/file/x", dir);
	cleanup_free char *none = mem_printf("%s/no/such", dir);
	cleanup_free char *loop = mem_printf("%s/loop", dir);
	cleanup_free char *dangling = mem_printf("%s/dangling", dir);
	struct reach r;

	(void)state;
	put(dir, "file", "x");
	assert_int_equal(symlink("loop", loop), 0);
	assert_int_equal(symlink("gone", dangling), 0);
	assert_int_equal(reach_check(file, R_OK, &r), REACH_OK);
	assert_int_equal(reach_check(file, X_OK, &r), REACH_NOT_EXEC);
	assert_int_equal(reach_check(below, R_OK, &r), REACH_NOT_DIR);
	assert_int_equal(reach_check(none, R_OK, &r), REACH_MISSING);
	assert_non_null(strstr(r.where, "/no"));
	assert_null(strstr(r.where, "such"));
	assert_int_equal(reach_check(dangling, R_OK, &r), REACH_MISSING);
	assert_non_null(strstr(r.where, "/gone"));
	assert_int_equal(reach_check(loop, R_OK, &r), REACH_FAILED);
	assert_int_equal(r.sys, ELOOP);
	assert_int_equal(reach_check("/", R_OK, &r), REACH_OK);
	assert_string_equal(r.where, "/");
	assert_int_equal(reach_check("/../..", R_OK, &r), REACH_OK);
	assert_int_equal(reach_check(".", R_OK, &r), REACH_OK);
	assert_int_equal(reach_check(dir, X_OK, &r), REACH_NOT_EXEC);
	tmpdir_remove(dir);
}

static void blocked_ancestors_are_found(void **state)
{
	char *dir = tmpdir_make();
	cleanup_free char *real = realpath(dir, NULL);
	cleanup_free char *mid = mem_printf("%s/a/b", real);
	cleanup_free char *leaf = mem_printf("%s/a/b/c", real);
	cleanup_free char *absent = mem_printf("%s/a/b/d/e", real);
	char *got;

	(void)state;
	put(dir, "a/b/c/file", "x");
	chmod(dir, 0755);
	assert_null(box_blocked_ancestor(leaf));
	assert_null(box_blocked_ancestor("/"));

	/* Itself is not an ancestor. */
	chmod(leaf, 0700);
	assert_null(box_blocked_ancestor(leaf));
	chmod(mid, 0750);
	got = box_blocked_ancestor(leaf);
	assert_string_equal(got, mid);
	free(got);
	got = box_blocked_ancestor(absent);
	assert_string_equal(got, mid);
	free(got);
	chmod(dir, 0700);
	got = box_blocked_ancestor(leaf);
	assert_string_equal(got, real);
	free(got);
	tmpdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_read),
		cmocka_unit_test(wrong_options_are_named),
		cmocka_unit_test(reach_names_the_first_that_blocks),
		cmocka_unit_test(reach_tells_the_kinds_apart),
		cmocka_unit_test(blocked_ancestors_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
