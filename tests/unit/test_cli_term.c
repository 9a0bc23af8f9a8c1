#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/display.h"
#include "cli/progress.h"
#include "cli/term.h"
#include "core/mem.h"

static void a_table_lines_up(void **state)
{
	static const char *const header[] = {"api", "status", "2XX"};
	struct table t;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	table_init(&t, 3, header);
	table_cell(&t, "%s", "iris");
	table_cell(&t, "live");
	table_cell(&t, "%d", 1223);
	table_cell(&t, "caf\xc3\xa9-long-name"); /* counts as 14 */
	table_cell(&t, "updating");
	table_cell(&t, "-");
	table_render(&t, false, 80, &out);
	assert_string_equal(buf_cstr(&out),
			    "api              status     2XX\n"
			    "iris             live       1223\n"
			    "caf\xc3\xa9-long-name   updating   -\n");
	buf_reset(&out);
	table_render(&t, true, 80, &out);
	assert_non_null(strstr(buf_cstr(&out),
			       "\033[1mapi              status     2XX\033[0m"
			       "\n"));
	table_fini(&t);

	buf_reset(&out);
	table_init(&t, 3, header);
	table_render(&t, false, 80, &out);
	assert_string_equal(buf_cstr(&out), "api   status   2XX\n");
	table_fini(&t);
	buf_fini(&out);
}

static void tables_leave_out_what_says_nothing(void **state)
{
	static const char *const header[] = {"api", "4XX", "5XX", "note"};
	struct table t;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	table_init(&t, 4, header);
	t.optional = 1u << 1 | 1u << 2 | 1u << 3;
	table_cell(&t, "a");
	table_cell(&t, "-");
	table_cell(&t, "-");
	table_cell(&t, "%s", "");
	table_cell(&t, "b");
	table_cell(&t, "-");
	table_cell(&t, "7");
	table_render(&t, false, 80, &out);
	assert_string_equal(buf_cstr(&out), "api   5XX\na     -\nb     7\n");
	buf_reset(&out);
	/* One column too narrow for the gap of three. */
	table_render(&t, false, 8, &out);
	assert_string_equal(buf_cstr(&out), "api  5XX\na    -\nb    7\n");
	table_fini(&t);
	buf_fini(&out);
}

static void times_are_short(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(term_age(-1, text), "-");
	assert_string_equal(term_age(12999, text), "12s");
	assert_string_equal(term_age(17 * 60000, text), "17m");
	assert_string_equal(term_age(8ll * 3600000, text), "8h");
	assert_string_equal(term_age(50ll * 3600000, text), "2d");
	assert_string_equal(term_latency(-1, text), "-");
	assert_string_equal(term_latency(24.34, text), "24.3 ms");
	assert_string_equal(term_latency(0.5, text), "0.5 ms");
	assert_string_equal(term_latency(1250, text), "1.25 s");
	assert_int_equal(term_parse_time("1970-01-02T00:00:01Z"), 86401000);
	assert_int_equal(term_parse_time("1970-01-01T00:00:01.678Z"), 1678);
	assert_int_equal(term_parse_time("yesterday"), -1);
	assert_int_equal(term_parse_time(NULL), -1);
}

static void text_is_cut_between_characters(void **state)
{
	(void)state;
	assert_int_equal(term_fit("abc", 2), 2);
	assert_int_equal(term_fit("abc", 9), 3);
	assert_int_equal(term_fit("\xc3\xa9\xc3\xa9x", 1), 2);
	assert_int_equal(term_columns("\xc3\xa9\xc3\xa9x"), 3);
}

static bool feed(struct progress *r, const char *json)
{
	cleanup_json yyjson_doc *doc = yyjson_read(json, strlen(json), 0);

	assert_non_null(doc);
	return progress_event(r, yyjson_doc_get_root(doc));
}

static void start(struct progress *r, const char *json)
{
	cleanup_json yyjson_doc *doc = yyjson_read(json, strlen(json), 0);

	progress_init(r, yyjson_doc_get_root(doc));
	r->requested = 2;
	r->started_ms = 1000;
}

#define IRIS                                                                   \
	"{\"name\":\"iris\",\"kind\":\"RealtimeAPI\",\"revision\":4,"          \
	"\"change\":\"updated\",\"url\":\"http://x/iris\"}"

static const char *block(struct progress *r, struct buf *out)
{
	buf_reset(out);
	display_block(r, 3500, 60, out);
	return buf_cstr(out);
}

static void a_rollout_is_told_by_its_events(void **state)
{
	struct progress r;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	start(&r, IRIS);
	/* What an earlier rollout of the same revision left does not count. */
	assert_false(feed(&r, "{\"seq\":1,\"revision\":3,\"type\":\"live\"}"));
	assert_true(feed(&r, "{\"seq\":2,\"revision\":4,\"type\":\"live\"}"));
	assert_int_equal(r.state, PROGRESS_LIVE);
	assert_true(feed(&r, "{\"seq\":3,\"revision\":4,\"type\":\"deploy\"}"));
	assert_int_equal(r.state, PROGRESS_RUNNING);
	assert_false(feed(&r, "{\"seq\":3,\"revision\":4,\"type\":\"live\"}"));

	feed(&r, "{\"seq\":4,\"revision\":4,\"type\":\"env_output\","
		 "\"text\":\"Collecting\\tnumpy with a name that does not end "
		 "within the terminal's line\"}");
	feed(&r, "{\"seq\":5,\"revision\":4,\"type\":\"replica_start\","
		 "\"replica\":\"iris-4-0\",\"text\":\"started\"}");
	feed(&r, "{\"seq\":6,\"revision\":4,\"type\":\"replica_start\","
		 "\"replica\":\"iris-4-1\",\"text\":\"started\"}");
	feed(&r, "{\"seq\":7,\"revision\":4,\"type\":\"replica_ready\","
		 "\"replica\":\"iris-4-0\",\"text\":\"ready\"}");
	feed(&r, "{\"seq\":8,\"revision\":4,\"type\":\"replica_loading\","
		 "\"replica\":\"iris-4-1\",\"text\":\"importing p.py\"}");
	assert_int_equal(progress_ready(&r), 1);
	assert_string_equal(
		block(&r, &out),
		"iris   updating   2.5 s\n"
		"  environment   Collecting numpy with a name that does not \n"
		"  replicas      1/2 ready   iris-4-1: importing p.py\n");
	feed(&r, "{\"seq\":9,\"revision\":4,\"type\":\"replica_exit\","
		 "\"replica\":\"iris-4-1\",\"text\":\"exit code 1\"}");
	assert_int_equal(r.n_replicas, 1);
	feed(&r, "{\"seq\":10,\"revision\":4,\"type\":\"failed\","
		 "\"text\":\"cannot import x\",\"log\":[\"a\",\"b\"]}");
	assert_int_equal(r.state, PROGRESS_FAILED);
	assert_string_equal(r.cause, "cannot import x");
	assert_string_equal(r.log, "[\"a\",\"b\"]");
	progress_fini(&r);
	buf_fini(&out);
}

static void a_rollout_may_be_overtaken(void **state)
{
	struct progress r;

	(void)state;
	start(&r, IRIS);
	assert_true(feed(&r, "{\"seq\":9,\"revision\":5,\"type\":\"deploy\"}"));
	assert_int_equal(r.state, PROGRESS_FAILED);
	assert_string_equal(r.cause,
			    "a later deploy of the same api took over");
	progress_fini(&r);
	start(&r, IRIS);
	assert_true(feed(&r, "{\"seq\":9,\"revision\":4,\"type\":\"delete\"}"));
	assert_string_equal(r.cause, "the api was deleted meanwhile");
	progress_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_lines_up),
		cmocka_unit_test(tables_leave_out_what_says_nothing),
		cmocka_unit_test(times_are_short),
		cmocka_unit_test(text_is_cut_between_characters),
		cmocka_unit_test(a_rollout_is_told_by_its_events),
		cmocka_unit_test(a_rollout_may_be_overtaken),
	};

	return cmocka_run_group_tests_name("cli term", tests, NULL, NULL);
}
