#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/json.h"
#include "spec/emit.h"

static void check(const char *json, const char *yaml)
{
	struct err err = {0};
	cleanup_json yyjson_doc *doc = json_parse(json, strlen(json), &err);
	struct buf out;

	assert_non_null(doc);
	buf_init(&out, 1 << 20);
	emit_yaml(&out, yyjson_doc_get_root(doc), false);
	assert_string_equal(buf_cstr(&out), yaml);
	buf_fini(&out);
}

static void structure_is_blocks(void **state)
{
	(void)state;
	check("{\"apis\":[{\"name\":\"iris\",\"ready\":1},{\"name\":\"b\"}],"
	      "\"none\":[],\"empty\":{}}",
	      "apis:\n- name: iris\n  ready: 1\n- name: b\nnone: []\n"
	      "empty: {}\n");
}

static void values_keep_their_types(void **state)
{
	(void)state;
	check("[null,true,false,0,-7,18446744073709551615,1.5,1e300,1.5e-9]",
	      "- null\n- true\n- false\n- 0\n- -7\n- 18446744073709551615\n"
	      "- 1.5\n- 1.0e+300\n- 1.5e-9\n");
}

static void texts_that_look_like_something_else_are_quoted(void **state)
{
	(void)state;
	check("[\"1\",\"1e3\",\"-\",\".5\",\"yes\",\"Off\",\"null\",\"~\",\"\","
	      "\"2026-01-02\",\"12:30\",\"=\",\"<<\",\"y\",\".inf\"]",
	      "- '1'\n- '1e3'\n- '-'\n- '.5'\n- 'yes'\n- 'Off'\n- 'null'\n"
	      "- '~'\n- ''\n- '2026-01-02'\n- '12:30'\n- '='\n- '<<'\n"
	      "- 'y'\n- '.inf'\n");
	check("{\"no\":\"yes please\",\"5\":\"a: b\",\"k\":\"#c\"}",
	      "'no': yes please\n'5': 'a: b'\nk: '#c'\n");
}

static void lines_and_long_texts_stay_whole(void **state)
{
	(void)state;
	check("[\"a\\nb\\n\",\"http://127.0.0.1:8000/iris\",\"tab\\there\"]",
	      "- \"a\\nb\\n\"\n- http://127.0.0.1:8000/iris\n- "
	      "\"tab\\there\"\n");
	check("[\"x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x "
	      "x x x x x x x x x x x x x x x x x x x x x x x x x x\"]",
	      "- x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x "
	      "x x x x x x x x x x x x x x x x x x x x x x x x x x\n");
}

static void a_stream_has_marks(void **state)
{
	cleanup_json yyjson_doc *doc = yyjson_read("{\"a\":1}", 7, 0);
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 10);
	emit_yaml(&out, yyjson_doc_get_root(doc), true);
	emit_yaml(&out, yyjson_doc_get_root(doc), true);
	assert_string_equal(buf_cstr(&out), "---\na: 1\n---\na: 1\n");
	buf_fini(&out);
}

static void a_full_buffer_says_so(void **state)
{
	cleanup_json yyjson_doc *doc = yyjson_read("[1,2,3,4,5,6]", 13, 0);
	struct buf out;

	(void)state;
	buf_init(&out, 8);
	emit_yaml(&out, yyjson_doc_get_root(doc), false);
	assert_true(out.full);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structure_is_blocks),
		cmocka_unit_test(values_keep_their_types),
		cmocka_unit_test(
			texts_that_look_like_something_else_are_quoted),
		cmocka_unit_test(lines_and_long_texts_stay_whole),
		cmocka_unit_test(a_stream_has_marks),
		cmocka_unit_test(a_full_buffer_says_so),
	};

	return cmocka_run_group_tests_name("emit", tests, NULL, NULL);
}
