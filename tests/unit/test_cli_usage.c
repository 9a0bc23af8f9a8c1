#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/usage.h"

static void check(const char *text, size_t at, bool apis, bool files, bool dirs,
		  const char *words)
{
	struct usage u;
	bool any = usage_at(text, at, &u);

	assert_int_equal(u.apis, apis);
	assert_int_equal(u.files, files);
	assert_int_equal(u.dirs, dirs);
	assert_string_equal(u.words, words);
	assert_int_equal(any, apis || files || dirs || *words);
}

static void usage_says_what_may_stand_where(void **state)
{
	(void)state;
	check("", 0, false, false, false, "");
	check("API", 0, true, false, false, "");
	check("API", 1, false, false, false, "");
	check("[FILE|DIR]", 0, false, true, true, "");
	check("API [FILE|JSON|-]", 1, false, true, false, "");
	check("bash|zsh|fish", 0, false, false, false, "bash zsh fish");
	check("URL", 0, false, false, false, "");
}

static void alternatives_are_taken_together(void **state)
{
	static const char text[] = "set NAME [VALUE|-] | list | rm NAME";

	(void)state;
	check(text, 0, false, false, false, "set list rm");
	check(text, 1, false, false, false, "");
	check(text, 2, false, false, false, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usage_says_what_may_stand_where),
		cmocka_unit_test(alternatives_are_taken_together),
	};

	return cmocka_run_group_tests_name("cli usage", tests, NULL, NULL);
}
