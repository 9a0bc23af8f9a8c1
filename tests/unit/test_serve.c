#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "serve/environ.h"
#include "serve/feed.h"
#include "serve/serve.h"
#include "serve/stats.h"
#include "serve/told.h"

static void quantiles_bound_what_was_added(void **state)
{
	struct stats s = {0};

	(void)state;
	assert_true(stats_quantile_ms(&s, 0.99) == 0);
	for (int i = 0; i < 99; i++)
		stats_add(&s, 200, 1000);
	stats_add(&s, 503, 2000000);
	assert_int_equal(s.codes[2], 99);
	assert_int_equal(s.codes[5], 1);
	assert_true(stats_quantile_ms(&s, 0.5) >= 1.0);
	assert_true(stats_quantile_ms(&s, 0.5) <= 1.2);
	assert_true(stats_quantile_ms(&s, 1.0) >= 2000);
	assert_true(stats_quantile_ms(&s, 1.0) <= 2400);
	stats_add(&s, 200, UINT64_MAX / 2);
	stats_add(&s, 0, 0);
	assert_int_equal(s.codes[0], 1);
}

static void each_bucket_holds_what_its_bound_says(void **state)
{
	(void)state;
	for (uint64_t us = 0; us < UINT64_MAX / 8; us += 1 + us / 50) {
		struct stats s = {0};
		unsigned i = 0;

		stats_add(&s, 200, us);
		while (!s.buckets[i])
			i++;
		if (i < STATS_BUCKETS - 1)
			assert_true((double)us <=
				    stats_bound_s(i) * 1e6 + 1e-6);
		if (i > 0)
			assert_true((double)us > stats_bound_s(i - 1) * 1e6);
	}
	for (unsigned octave = 0; octave < 20; octave++) {
		struct stats s = {0};

		stats_add(&s, 200, (uint64_t)STATS_FIRST_US << octave);
		assert_int_equal(s.buckets[octave * STATS_PER_OCTAVE], 1);
	}
}

struct listener {
	struct feed_follower follower;
	unsigned lines;
	int64_t last;
	bool ended;
};

static void on_line(struct feed_follower *f, const struct feed_line *line)
{
	struct listener *l = CONTAINER_OF(f, struct listener, follower);

	l->lines++;
	l->last = line->seq;
}

static void on_end(struct feed_follower *f)
{
	CONTAINER_OF(f, struct listener, follower)->ended = true;
}

static void feeds_keep_the_newest_and_tell_followers(void **state)
{
	struct listener l = {
		.follower = {.on_line = on_line, .on_end = on_end}};
	struct feed f;

	(void)state;
	feed_init(&f, 10, 1000);
	feed_follow(&f, &l.follower);
	for (int i = 0; i < 100; i++)
		feed_add(&f, "{}", 2);
	assert_int_equal(l.lines, 100);
	assert_int_equal(l.last, 100);
	assert_int_equal(f.n, 10);
	assert_int_equal(LIST_ENTRY(f.lines.next, struct feed_line, link)->seq,
			 91);
	/* One larger than all room stays until the next comes. */
	char big[2000];

	memset(big, 'x', sizeof big);
	feed_add(&f, big, sizeof big);
	assert_int_equal(f.n, 1);
	feed_add_seq(&f, 500, "{}", 2);
	assert_int_equal(f.n, 1);
	assert_int_equal(f.last_seq, 500);
	feed_fini(&f);
	assert_true(l.ended);
}

static const char *value_of(char **env, const char *name)
{
	size_t n = strlen(name);
	const char *found = NULL;

	for (char **e = env; *e; e++) {
		if (strncmp(*e, name, n) != 0 || (*e)[n] != '=')
			continue;
		assert_null(found); /* each name once */
		found = *e + n + 1;
	}
	return found;
}

static void variables_are_the_users_not_ours(void **state)
{
	char *extra[] = {(char *)(uintptr_t) "A=2", (char *)(uintptr_t) "B=3",
			 NULL};
	char **env;

	(void)state;
	setenv("SOMA_TOKEN", "secret", 1);
	setenv("NOTIFY_SOCKET", "/x", 1);
	setenv("A", "1", 1);
	setenv("PATH", "/usr/bin", 1);
	env = environ_make("/envs/abc/bin", extra);
	assert_null(value_of(env, "SOMA_TOKEN"));
	assert_null(value_of(env, "NOTIFY_SOCKET"));
	assert_string_equal(value_of(env, "A"), "2");
	assert_string_equal(value_of(env, "B"), "3");
	assert_string_equal(value_of(env, "PATH"), "/envs/abc/bin:/usr/bin");
	assert_string_equal(value_of(env, "VIRTUAL_ENV"), "/envs/abc");
	environ_free(env);
}

static void our_token_goes_with_our_key_alone(void **state)
{
	char *key = (char *)(uintptr_t) "AWS_ACCESS_KEY_ID=theirs";
	char *token = (char *)(uintptr_t) "AWS_SESSION_TOKEN=theirs";
	char *other = (char *)(uintptr_t) "AWS_REGION=there";
	char **env;

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "ours", 1);
	setenv("AWS_SESSION_TOKEN", "ours", 1);
	setenv("AWS_PROFILE", "ours", 1);
	env = environ_make(NULL, (char *[]){other, NULL});
	assert_string_equal(value_of(env, "AWS_ACCESS_KEY_ID"), "ours");
	assert_string_equal(value_of(env, "AWS_SESSION_TOKEN"), "ours");
	assert_string_equal(value_of(env, "AWS_PROFILE"), "ours");
	environ_free(env);
	env = environ_make(NULL, (char *[]){other, key, NULL});
	assert_string_equal(value_of(env, "AWS_ACCESS_KEY_ID"), "theirs");
	assert_null(value_of(env, "AWS_SESSION_TOKEN"));
	assert_null(value_of(env, "AWS_PROFILE"));
	environ_free(env);
	env = environ_make(NULL, (char *[]){token, key, NULL});
	assert_string_equal(value_of(env, "AWS_SESSION_TOKEN"), "theirs");
	environ_free(env);
}

static void routes_match_whole_segments(void **state)
{
	struct serve s = {0};
	struct api a = {0}, b = {0};
	struct str rest;

	(void)state;
	map_init(&s.routes);
	map_set(&s.routes, "/a", &a);
	map_set(&s.routes, "/a/b", &b);
	assert_ptr_equal(serve_route(&s, STR("/a"), &rest), &a);
	assert_int_equal(rest.n, 0);
	assert_ptr_equal(serve_route(&s, STR("/a/"), &rest), &a);
	assert_true(str_eq(rest, STR("/")));
	assert_ptr_equal(serve_route(&s, STR("/a/bc"), &rest), &a);
	assert_true(str_eq(rest, STR("/bc")));
	assert_ptr_equal(serve_route(&s, STR("/a/b/c/d"), &rest), &b);
	assert_true(str_eq(rest, STR("/c/d")));
	assert_null(serve_route(&s, STR("/ab"), &rest));
	assert_null(serve_route(&s, STR("/"), &rest));
	assert_null(serve_route(&s, STR(""), &rest));
	assert_null(serve_route(&s, STR("//"), &rest));
	map_fini(&s.routes);
}

static void a_replicas_words_are_made_text(void **state)
{
	cleanup_free char *text = told_loading(STR("a\xff"
						   "b\n\x1b[31m \xc3\xa9"));
	cleanup_free char *failed = told_failed(
		STR("{\"message\":\"no x\",\"remedy\":\"add it\"}"));
	cleanup_free char *none = told_failed(STR("not JSON"));
	cleanup_free char *many = mem_alloc(100000);
	char *cut;

	(void)state;
	assert_string_equal(text, "a\xef\xbf\xbd"
				  "b  [31m \xc3\xa9");
	assert_string_equal(failed, "no x. Remedy: add it");
	assert_string_equal(none, "the predictor failed");
	memset(many, 'x', 100000);
	cut = told_loading((struct str){many, 100000});
	assert_int_equal(strlen(cut), TOLD_LOADING_MAX);
	free(cut);
}

/* What a terminal would act upon, or a shell. */
static void a_replicas_words_do_nothing_to_a_terminal(void **state)
{
	static const char *const bad[] = {
		"",
		"{\"sample\":7}",
		"{\"sample\":\"no JSON\"}",
		"{\"sample\":\"[1]\"}",
		"{\"sample\":\"{}\\u001b[201~\\nrm x\"}",
		"{\"sample\":\"{\\n}\"}",
		"{\"sample\":\"{\\\"a\\\":\\\"\\u009b31m\\\"}\"}",
		"{\"sample\":\"{\\\"a\\\":\\\"\\u007f\\\"}\"}",
	};
	cleanup_free char *loading = told_loading(STR("a\xc2\x9b"
						      "b\xc2\xa0"));
	cleanup_free char *failed = told_failed(
		STR("{\"message\":\"a\\u001b[2J\\n\\tb\\u009bc\"}"));
	cleanup_free char *note = NULL,
			  *sample = told_sample(
				  STR("{\"sample\":\"{\\\"a'\\\":[1]}\"}"));
	cleanup_free char *many = mem_alloc(100000);
	size_t n = (size_t)snprintf(many, 100, "{\"sample\":\"{");

	(void)state;
	assert_string_equal(loading, "a b\xc2\xa0");
	assert_string_equal(failed, "a [2J\n\tb c");
	assert_string_equal(sample, "{\"a'\":[1]}");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(told_sample(str_of(bad[i])));
	assert_null(told_note(STR("{}")));
	assert_null(told_note(STR("nonsense")));
	note = told_note(STR("{\"note\":\"a\\u001b b\"}"));
	assert_string_equal(note, "a  b");
	memset(many + n, ' ', 50000);
	memcpy(many + n + 50000, "}\"}", 3);
	assert_null(told_sample(str_of(many)));
}

/* Each goes to a zygote that imports it. */
static void imports_are_names_of_modules(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"imports\":[]}",
		"{\"imports\":\"mmap\"}",
		"{\"imports\":[\"mmap\",7]}",
		"{\"imports\":[\"\"]}",
		"{\"imports\":[\"a b\"]}",
		"{\"imports\":[\"../a\"]}",
		"nonsense",
	};
	cleanup_free char *good =
		told_imports(STR("{\"imports\":[\"mmap\",\"xml.etree\"]}"));
	cleanup_free char *many = mem_alloc(100000);
	size_t n = (size_t)snprintf(many, 100, "{\"imports\":[\"");

	(void)state;
	assert_string_equal(good, "[\"mmap\",\"xml.etree\"]");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(told_imports(str_of(bad[i])));
	memset(many + n, 'a', TOLD_IMPORTS_MAX);
	memcpy(many + n + TOLD_IMPORTS_MAX, "\"]}", 4);
	assert_null(told_imports(str_of(many)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_replicas_words_are_made_text),
		cmocka_unit_test(imports_are_names_of_modules),
		cmocka_unit_test(a_replicas_words_do_nothing_to_a_terminal),
		cmocka_unit_test(quantiles_bound_what_was_added),
		cmocka_unit_test(each_bucket_holds_what_its_bound_says),
		cmocka_unit_test(feeds_keep_the_newest_and_tell_followers),
		cmocka_unit_test(variables_are_the_users_not_ours),
		cmocka_unit_test(our_token_goes_with_our_key_alone),
		cmocka_unit_test(routes_match_whole_segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
