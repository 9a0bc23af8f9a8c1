#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/json.h"
#include "core/list.h"
#include "core/map.h"
#include "core/str.h"

static void buf_stops_at_its_maximum(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_add(&b, "12345", 5), 0);
	assert_int_equal(buf_add(&b, "67890", 5), 0);
	assert_false(b.full);
	assert_int_equal(buf_addc(&b, 'x'), E_TOOBIG);
	assert_true(b.full);
	assert_string_equal(buf_cstr(&b), "1234567890");
	buf_drop(&b, 8);
	assert_string_equal(buf_cstr(&b), "90");
	buf_reset(&b);
	assert_int_equal(buf_addf(&b, "%d-%s", 42, "abc"), 0);
	assert_string_equal(buf_cstr(&b), "42-abc");
	assert_int_equal(buf_addf(&b, "%s", "too long now"), E_TOOBIG);
	buf_reset(&b);
	assert_int_equal(buf_addu(&b, 0), 0);
	assert_int_equal(buf_addu(&b, 1234567), 0);
	assert_string_equal(buf_cstr(&b), "01234567");
	assert_int_equal(buf_addu(&b, UINT64_MAX), E_TOOBIG);
	buf_fini(&b);
	buf_init(&b, 20);
	assert_int_equal(buf_addu(&b, UINT64_MAX), 0);
	assert_string_equal(buf_cstr(&b), "18446744073709551615");
	buf_fini(&b);
}

static void arena_survives_large_and_small(void **state)
{
	char first[64];
	struct arena a;
	char *s, *big;

	(void)state;
	arena_init_with(&a, first, sizeof first);
	s = arena_strdup(&a, "hello");
	assert_true(s >= first && s < first + sizeof first);
	big = arena_zalloc(&a, 100000);
	big[99999] = 1;
	for (int i = 0; i < 1000; i++) {
		char *p = arena_printf(&a, "n%d", i);

		assert_int_equal((uintptr_t)p % 16, 0);
	}
	assert_string_equal(s, "hello");
	arena_fini(&a);
}

static void map_keeps_what_was_set(void **state)
{
	static int values[500];
	struct map m;
	char key[16];
	size_t n = 0;

	(void)state;
	map_init(&m);
	assert_null(map_get(&m, "x"));
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof key, "k%d", i);
		assert_null(map_set(&m, key, &values[i]));
	}
	for (int i = 0; i < 500; i += 3) {
		snprintf(key, sizeof key, "k%d", i);
		assert_ptr_equal(map_del(&m, key), &values[i]);
		assert_null(map_del(&m, key));
	}
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof key, "k%d", i);
		assert_ptr_equal(map_get(&m, key),
				 i % 3 ? (void *)&values[i] : NULL);
	}
	for (size_t i = 0; map_next(&m, &i, NULL);)
		n++;
	assert_int_equal(n, m.len);
	map_fini(&m);
}

static void durations_are_gos(void **state)
{
	int64_t ms;

	(void)state;
	assert_true(str_duration_ms("10s", &ms) && ms == 10000);
	assert_true(str_duration_ms("1h30m", &ms) && ms == 5400000);
	assert_true(str_duration_ms("1.5h", &ms) && ms == 5400000);
	assert_true(str_duration_ms("250ms", &ms) && ms == 250);
	assert_true(str_duration_ms("0", &ms) && ms == 0);
	assert_false(str_duration_ms("10", &ms));
	assert_false(str_duration_ms("-1s", &ms));
	assert_false(str_duration_ms("", &ms));
	assert_false(str_duration_ms("1x", &ms));
	assert_false(str_duration_ms("infs", &ms));
	assert_false(str_duration_ms("9999999h9999999h", &ms));
}

static void quantities_are_kubernetes(void **state)
{
	int64_t v;

	(void)state;
	assert_true(str_cpu_millis("200m", &v) && v == 200);
	assert_true(str_cpu_millis("0.5", &v) && v == 500);
	assert_true(str_cpu_millis("2", &v) && v == 2000);
	assert_false(str_cpu_millis("2 cores", &v));
	assert_true(str_bytes("512Mi", &v) && v == 512 << 20);
	assert_true(str_bytes("1G", &v) && v == 1000000000);
	assert_true(str_bytes("1e9", &v) && v == 1000000000);
	assert_false(str_bytes("1GB", &v));
	assert_false(str_bytes("lots", &v));
}

static void nearest_word_is_what_was_meant(void **state)
{
	static const char *const keys[] = {"predictor", "compute", "name"};

	(void)state;
	assert_string_equal(str_nearest("predicter", keys, 3), "predictor");
	assert_string_equal(str_nearest("nme", keys, 3), "name");
	assert_null(str_nearest("zzzzzz", keys, 3));
}

static void errors_wrap_and_map(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(err_sys(&err, ENOENT, "opening '%s'", "x"),
			 E_NOTFOUND);
	assert_string_equal(err.msg, "opening 'x': No such file or directory");
	assert_int_equal(err_wrap(&err, "loading model '%s'", "m"), E_NOTFOUND);
	assert_string_equal(
		err.msg,
		"loading model 'm': opening 'x': No such file or directory");
	assert_int_equal(err_http(E_OVERLOAD), 503);
	assert_string_equal(err_word(E_UPSTREAM), "replica_failed");
	assert_int_equal(err_set(NULL, E_IO, "nobody listens"), E_IO);
}

static void json_quotes_anything(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	json_quote(&b, STR("a\"\\\n\x01\xff\xc3\xa9\xed\xa0\x80"));
	assert_string_equal(buf_cstr(&b),
			    "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc3\xa9"
			    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	buf_reset(&b);
	json_quote(&b, STR("plain, then \t\x7f and plain"));
	assert_string_equal(buf_cstr(&b),
			    "\"plain, then \\t\\u007f and plain\"");
	buf_reset(&b);
	json_quote(&b, STR(""));
	assert_string_equal(buf_cstr(&b), "\"\"");
	buf_fini(&b);
}

static void words_of_others_are_tidied(void **state)
{
	char text[] = "a\033[31m\nb\x7f \xc3\xa4 \xff \xc2\x9b \xe2\x82";
	char lines[] = "a\nb\tc";

	(void)state;
	str_tidy(text, false);
	assert_string_equal(text, "a?[31m?b? \xc3\xa4 ? ?? ??");
	assert_true(str_is_plain(STR("a b \xc3\xa4 \xc2\xa0")));
	assert_false(str_is_plain(STR("a\tb")));
	assert_false(str_is_plain(STR("a\xc2\x9b")));
	assert_false(str_is_plain(STR("a\xff")));
	str_tidy(lines, true);
	assert_string_equal(lines, "a\nb?c");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_stops_at_its_maximum),
		cmocka_unit_test(arena_survives_large_and_small),
		cmocka_unit_test(map_keeps_what_was_set),
		cmocka_unit_test(durations_are_gos),
		cmocka_unit_test(quantities_are_kubernetes),
		cmocka_unit_test(nearest_word_is_what_was_meant),
		cmocka_unit_test(errors_wrap_and_map),
		cmocka_unit_test(json_quotes_anything),
		cmocka_unit_test(words_of_others_are_tidied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
