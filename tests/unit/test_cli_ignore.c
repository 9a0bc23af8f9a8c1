#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/ignore.h"

static bool out(const char *rules, const char *path, bool is_dir)
{
	struct ignore ig;
	bool hit;

	ignore_init(&ig);
	ignore_add(&ig, rules, strlen(rules));
	hit = ignore_match(&ig, path, is_dir);
	ignore_fini(&ig);
	return hit;
}

static void globs(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool hit;
	} cases[] = {
		{"a", "a", true},
		{"a", "b", false},
		{"*", "anything", true},
		{"*", "a/b", false},
		{"*.py", "x.py", true},
		{"*.py", "x.pyc", false},
		{"*.py", ".py", true},
		{"a*b*c", "a123b45c", true},
		{"a*b*c", "a123b45", false},
		{"a*bc", "abcbc", true},
		{"?", "a", true},
		{"?", "/", false},
		{"a?c", "abc", true},
		{"[a-c]x", "bx", true},
		{"[a-c]x", "dx", false},
		{"[!a-c]x", "dx", true},
		{"[^a-c]x", "ax", false},
		{"[]]x", "]x", true},
		{"[a-]x", "-x", true},
		{"[\\]]x", "]x", true},
		{"[x", "[x", true}, /* no end: the letter */
		{"[!a]", "/", false},
		{"\\*", "*", true},
		{"\\*", "a", false},
		{"a/*", "a/b", true},
		{"a/*", "a/b/c", false},
		{"**/b", "b", true},
		{"**/b", "a/x/b", true},
		{"**/b", "a/xb", false},
		{"a/**", "a/b/c", true},
		{"a/**", "a", false},
		{"a/**/b", "a/b", true},
		{"a/**/b", "a/x/y/b", true},
		{"a/**/b", "a/x/y/c", false},
		{"**/a/**/b", "x/a/y/a/z/b", true},
		{"**/*.o", "x/y/z.o", true},
		{"a**b", "axxb", true}, /* no slash beside: a plain star */
		{"a**b", "a/b", false},
		{"**", "a/b/c", true},
		{"", "", true},
		{"a", "", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (ignore_glob(cases[i].pattern, cases[i].path) !=
		    cases[i].hit)
			fail_msg("'%s' and '%s': not %d", cases[i].pattern,
				 cases[i].path, cases[i].hit);
}

/* Many stars on a long path end soon. */
static void globs_take_bounded_time(void **state)
{
	char path[4096];

	(void)state;
	memset(path, 'a', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	assert_false(ignore_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*b", path));
	for (size_t i = 1; i < sizeof path - 1; i += 2)
		path[i] = '/';
	assert_false(ignore_glob("**/a/**/a/**/a/**/a/**/a/**/b", path));
}

static void a_name_matches_at_any_depth(void **state)
{
	(void)state;
	assert_true(out("data", "data", true));
	assert_true(out("data", "a/b/data", false));
	assert_false(out("data", "data2", false));
	assert_true(out("*.log", "a/b.log", false));
}

static void a_slash_ties_to_the_top(void **state)
{
	(void)state;
	assert_true(out("/data", "data", true));
	assert_false(out("/data", "a/data", true));
	assert_true(out("a/data", "a/data", true));
	assert_false(out("a/data", "b/a/data", true));
	assert_true(out("/*.bin", "x.bin", false));
	assert_false(out("/*.bin", "a/x.bin", false));
}

static void a_slash_at_the_end_means_folders(void **state)
{
	(void)state;
	assert_true(out("data/", "data", true));
	assert_true(out("data/", "a/data", true)); /* not tied to the top */
	assert_false(out("data/", "data", false));
	assert_true(out("a/data/", "a/data", true));
}

static void the_last_rule_that_matches_decides(void **state)
{
	(void)state;
	assert_false(out("*.bin\n!keep.bin\n", "keep.bin", false));
	assert_true(out("*.bin\n!keep.bin\n", "drop.bin", false));
	assert_true(out("!keep.bin\n*.bin\n", "keep.bin", false));
	assert_false(out(".*\n!.env", ".env", false));
}

static void comments_spaces_and_escapes(void **state)
{
	(void)state;
	assert_false(out("# data\n\n   \n", "data", false));
	assert_false(out("#data", "#data", false));
	assert_true(out("\\#data", "#data", false));
	assert_true(out("\\!data", "!data", false));
	assert_true(out("data  \r\nx", "data", false));
	assert_true(out("data\\ ", "data ", false));
	assert_true(out("\xef\xbb\xbf"
			"data",
			"data", false));
	assert_false(out("/\n!\n!/\n", "data", false));
	assert_true(
		out("last line without end", "last line without end", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(globs),
		cmocka_unit_test(globs_take_bounded_time),
		cmocka_unit_test(a_name_matches_at_any_depth),
		cmocka_unit_test(a_slash_ties_to_the_top),
		cmocka_unit_test(a_slash_at_the_end_means_folders),
		cmocka_unit_test(the_last_rule_that_matches_decides),
		cmocka_unit_test(comments_spaces_and_escapes),
	};

	return cmocka_run_group_tests_name("cli ignore", tests, NULL, NULL);
}
