/* When two answers are the same, and where they differ first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "core/mem.h"
#include "serve/differ.h"

static bool differ(const char *a, const char *b, double tolerance,
		   struct difference *d)
{
	cleanup_json yyjson_doc *x = json_parse(a, strlen(a), NULL);
	cleanup_json yyjson_doc *y = json_parse(b, strlen(b), NULL);
	double largest = 0;
	bool it_does = values_differ(yyjson_doc_get_root(x),
				     yyjson_doc_get_root(y), tolerance, d);

	assert_non_null(x);
	assert_non_null(y);
	/* Whether it is told does not change what it is. */
	assert_int_equal(it_does, answers_differ(str_of(a), str_of(b),
						 tolerance, &largest));
	return it_does;
}

static void same(void **state)
{
	static const char *const pairs[][2] = {
		{"1", "1.0"},
		{"1.0", "1.0000000001"},
		{"{\"a\":1,\"b\":[]}", "{\"b\":[],\"a\":1}"},
		{"[[1,\"x\",null,true]]", "[[1.0,\"x\",null,true]]"},
		{"{}", "{}"},
	};
	struct difference d;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		assert_false(differ(pairs[i][0], pairs[i][1], 1e-6, &d));
	assert_false(differ("[99]", "[100]", 0.011, &d));
	assert_true(differ("[99]", "[100]", 0.009, &d));
}

static void first_place(void **state)
{
	static const struct {
		const char *a, *b, *path, *of_a, *of_b;
	} cases[] = {
		{"{\"sum\":7.0}", "{\"sum\":6.0}", ".sum", "7.0", "6.0"},
		{"{\"s\":[1,2,{\"l\":\"x\"}],\"t\":1}",
		 "{\"t\":2,\"s\":[1,2,{\"l\":\"y\"}]}", ".s[2].l", "\"x\"",
		 "\"y\""},
		{"[1,2,3]", "[1,2]", "[2]", "3", "nothing"},
		{"[1]", "[1,{\"a\":1}]", "[1]", "nothing", "{\"a\":1}"},
		{"[9,2,3]", "[1,2]", "[0]", "9", "1"},
		{"{\"a\":1}", "{\"a\":1,\"b\":2}", ".b", "nothing", "2"},
		{"{\"a\":1,\"b\":2}", "{\"a\":1}", ".b", "2", "nothing"},
		{"{\"a b\":1}", "{\"a b\":2}", "[\"a b\"]", "1", "2"},
		{"{\"a\":1}", "[1]", "", "{\"a\":1}", "[1]"},
		{"1", "\"1\"", "", "1", "\"1\""},
		{"[null]", "[false]", "[0]", "null", "false"},
	};
	struct difference d;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_true(differ(cases[i].a, cases[i].b, 1e-6, &d));
		assert_string_equal(d.path, cases[i].path);
		assert_string_equal(d.a, cases[i].of_a);
		assert_string_equal(d.b, cases[i].of_b);
	}
}

/* However long: cut, between two characters; and no control characters. */
static void long_ones(void **state)
{
	static const char begin[] = "{\"a\":\"";
	cleanup_free char *a = mem_alloc(4096), *deep = mem_alloc(4096);
	struct difference d;
	size_t n = strlen(begin);

	(void)state;
	memcpy(a, begin, n);
	for (; n < 1000; n += 2)
		memcpy(a + n, "\xc3\xa9", 2);
	memcpy(a + n, "\"}", 3);
	assert_true(differ(a, "{\"a\":1}", 0, &d));
	assert_true(str_is_utf8(str_of(d.a)));
	assert_true(strlen(d.a) > 90 && strlen(d.a) < sizeof d.a);
	assert_string_equal(d.a + strlen(d.a) - 3, "...");
	memset(deep, '[', 1000);
	memset(deep + 1000, ']', 1000);
	assert_true(differ(deep, "[[1]]", 0, &d));
	assert_string_equal(d.path, "[0][0]");
	/* Deeper than is looked. */
	assert_true(differ(deep, deep, 0, &d));
	assert_true(
		differ("{\"a\\u001b[31m\":1}", "{\"a\\u001b[31m\":2}", 0, &d));
	assert_null(strchr(d.path, 27));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same),
		cmocka_unit_test(first_place),
		cmocka_unit_test(long_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
