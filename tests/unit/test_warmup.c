/* test_warmup.c: warm-up requests, and what is wrong with their answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "core/mem.h"
#include "serve/warmup.h"

#define MS UINT64_C(1000000)

static void questions(void **state)
{
	static const char json[] =
		"{\"requests\":[{\"path\":\"/\",\"body\":{\"x\":[1,2.5]},"
		"\"method\":\"POST\",\"headers\":{\"X-A\":\"b\"},\"times\":3,"
		"\"status\":201,\"expect\":{\"s\":6.0},\"tolerance\":0.001,"
		"\"within_ms\":2000},{\"path\":\"/a\",\"method\":\"GET\"},"
		"{\"path\":\"/\",\"body_file\":\"a.bin\",\"content_type\":"
		"\"a/b\",\"method\":\"PUT\",\"within_ms\":10}]}";
	struct http_question q;
	struct warmup w;

	(void)state;
	warmup_init(&w, NULL);
	assert_int_equal(w.n, 0);
	warmup_fini(&w);
	warmup_init(&w, json);
	assert_int_equal(w.n, 3);
	assert_int_equal(w.requests[0].times, 3);
	q = warmup_question(&w.requests[0]);
	assert_string_equal(q.method, "POST");
	assert_string_equal(q.body.p, "{\"x\":[1,2.5]}");
	assert_string_equal(q.headers,
			    "X-Soma-Warmup: 1\r\n"
			    "Content-Type: application/json\r\nX-A: b\r\n");
	assert_int_equal(q.timeout_ms, 8000);
	assert_int_equal(q.keep, WARMUP_ANSWER_MAX);
	q = warmup_question(&w.requests[1]);
	assert_string_equal(q.path, "/a");
	assert_string_equal(q.headers, "X-Soma-Warmup: 1\r\n");
	assert_null(q.body.p);
	assert_int_equal(q.timeout_ms, 0);
	q = warmup_question(&w.requests[2]);
	assert_string_equal(w.requests[2].file, "a.bin");
	assert_string_equal(q.headers,
			    "X-Soma-Warmup: 1\r\nContent-Type: a/b\r\n");
	assert_int_equal(q.timeout_ms, 1010);
	warmup_fini(&w);
}

/* What is wrong with that answer; NULL: nothing. */
static char *judge(const char *item, unsigned status, const char *body,
		   uint64_t took_ms)
{
	cleanup_free char *json = mem_printf(
		"{\"requests\":[{\"path\":\"/\",\"method\":\"GET\"%s%s}]}",
		*item ? "," : "", item);
	struct http_told told = {.status = status,
				 .late = !status,
				 .body = str_of(body),
				 .size = strlen(body),
				 .took_ns = took_ms * MS};
	struct warmup w;
	char *why;

	warmup_init(&w, json);
	assert_int_equal(w.n, 1);
	why = warmup_judge(&w.requests[0], &told);
	warmup_fini(&w);
	return why;
}

static void good(void **state)
{
	static const struct {
		const char *item;
		unsigned status;
		const char *body;
	} cases[] = {
		{"", 200, ""},
		{"", 299, "whatever"},
		{"\"status\":404", 404, ""},
		{"\"expect\":{\"a\":1.0}", 200, "{\"a\":1.0000001}"},
		{"\"expect\":\"ok\"", 200, "ok"},
		{"\"expect\":\"ok\"", 200, "\"ok\""},
		{"\"expect\":[],\"within_ms\":7", 200, "[]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *why =
			judge(cases[i].item, cases[i].status, cases[i].body, 7);

		if (why)
			fail_msg("%s: %s", cases[i].item, why);
	}
}

static void bad(void **state)
{
	static const struct {
		const char *item;
		unsigned status;
		const char *body, *why;
	} cases[] = {
		{"", 500, "", "was answered with 500, not 2xx"},
		{"", 302, "a\n\x1b[1mb",
		 "was answered with 302, not 2xx: a  [1mb"},
		{"\"status\":404", 200, "x",
		 "was answered with 200, not 404: x"},
		{"\"expect\":{\"s\":6.0}", 200, "{\"s\":7.0}",
		 "was answered otherwise: its answer differs at .s: 7.0, "
		 "expected 6.0 (tolerance 1e-06)"},
		{"\"expect\":{\"s\":\"a\"}", 200, "{\"s\":\"b\"}",
		 "was answered otherwise: its answer differs at .s: \"b\", "
		 "expected \"a\""},
		{"\"expect\":[1]", 200, "<html>",
		 "was answered with what is no JSON: '<html>'"},
		{"\"expect\":\"ok\"", 200, "no",
		 "was answered with 'no', expected 'ok'"},
		{"\"within_ms\":100", 200, "",
		 "took 200 ms, more than within: 100 ms"},
		{"\"within_ms\":100", 0, "",
		 "was not answered in 200 ms, more than within: 100 ms"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cleanup_free char *why = judge(cases[i].item, cases[i].status,
					       cases[i].body, 200);

		assert_non_null(why);
		assert_string_equal(why, cases[i].why);
	}
}

/* Of a long answer the beginning is shown; none is compared by half. */
static void long_ones(void **state)
{
	cleanup_free char *body = mem_alloc(5000), *why = NULL, *half = NULL;
	struct http_told told = {.status = 200, .size = 5 << 20};
	struct warmup w;

	(void)state;
	memset(body, 'x', 4999);
	why = judge("", 500, body, 1);
	assert_true(strlen(why) < 260);
	warmup_init(&w, "{\"requests\":[{\"expect\":1}]}");
	told.body = str_of(body);
	half = warmup_judge(&w.requests[0], &told);
	assert_non_null(strstr(half, "more than 4 MiB"));
	warmup_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions),
		cmocka_unit_test(good),
		cmocka_unit_test(bad),
		cmocka_unit_test(long_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
