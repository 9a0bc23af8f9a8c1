#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "loop/file.h"
#include "settings/settings.h"

static void gather(void *data, const char *line)
{
	buf_addf(data, "%s\n", line);
}

/* Reads text as a file; what was said of it. */
static struct buf problems_of(struct settings *s, const char *text,
			      unsigned *ret_n)
{
	struct buf said;

	buf_init(&said, 1 << 20);
	*ret_n = settings_read_text(s, "soma.conf", true, text, strlen(text),
				    gather, &said);
	return said;
}

static void file_says(struct settings *s, const char *text, const char *words)
{
	unsigned n;
	struct buf said = problems_of(s, text, &n);

	assert_string_equal(buf_cstr(&said), words);
	assert_int_equal(n > 0, *words != 0);
	buf_fini(&said);
}

static void the_file_sets_what_it_names(void **state)
{
	struct http_limits limits = {0};
	struct settings s;

	(void)state;
	settings_init(&s);
	settings_limits(&s, &limits);
	assert_memory_equal(&limits, &http_limits_default, sizeof limits);
	file_says(&s,
		  "# what is different here\n"
		  "log_level: debug\n"
		  "access_log: no\n"
		  "body_timeout: 2m\n"
		  "body_bytes: \"10Mi\"\n"
		  "max_connections: 5\n"
		  "listen: 0.0.0.0:80\n",
		  "");
	assert_string_equal(settings_text(&s, SETTING_LOG_LEVEL), "debug");
	assert_string_equal(settings_text(&s, SETTING_ACCESS_LOG), "off");
	assert_int_equal(settings_number(&s, SETTING_ACCESS_LOG), 0);
	assert_string_equal(settings_text(&s, SETTING_LISTEN), "0.0.0.0:80");
	settings_limits(&s, &limits);
	assert_int_equal(limits.body_timeout_ms, 120000);
	assert_int_equal(limits.body_bytes, 10 << 20);
	assert_int_equal(limits.max_connections, 5);
	assert_int_equal(limits.idle_timeout_ms,
			 http_limits_default.idle_timeout_ms);
	/* What a file says no more is the default again. */
	file_says(&s, "", "");
	assert_string_equal(settings_text(&s, SETTING_LOG_LEVEL), "info");
	assert_int_equal(settings_number(&s, SETTING_body_timeout_ms), 60000);
	settings_fini(&s);
}

static void a_wrong_file_says_where_and_changes_nothing(void **state)
{
	struct settings s;

	(void)state;
	settings_init(&s);
	file_says(&s, "log_level: error\n", "");
	file_says(
		&s,
		"log_level: loud\n"
		"log-level: debug\n"
		"body_timout: 1m\n"
		"colour: red\n"
		"config: /x\n"
		"access_log:\n"
		"body_timeout: [1, 2]\n"
		"idle_timeout: 1ms\n"
		"header_timeout: soon\n"
		"body_bytes: -1\n"
		"max_connections: 0\n"
		"listen: 8000\n"
		"admin: localhost:http\n"
		"access_log: on\n",
		"soma.conf:1:12: log_level wants debug, info, warning or "
		"error, not 'loud'\n"
		"soma.conf:2:1: unknown setting 'log-level'; did you mean "
		"'log_level'?\n"
		"soma.conf:3:1: unknown setting 'body_timout'; did you mean "
		"'body_timeout'?\n"
		"soma.conf:4:1: unknown setting 'colour'; 'soma serve "
		"--help' names those there are\n"
		"soma.conf:5:1: config cannot be set in the file: give it to "
		"'soma serve' as --config\n"
		"soma.conf:6:1: access_log has no value: give one, or remove "
		"the line\n"
		"soma.conf:7:15: body_timeout wants one value, found a list\n"
		"soma.conf:8:15: idle_timeout wants a time such as 30s, 500ms "
		"or 2m, from 100ms to 24h, not '1ms'\n"
		"soma.conf:9:17: header_timeout wants a time such as 30s, "
		"500ms or 2m, not 'soon'\n"
		"soma.conf:10:13: body_bytes wants a size such as 65536, 64Ki "
		"or 10Mi, not '-1'\n"
		"soma.conf:11:18: max_connections wants a number, from 1 to "
		"10000000, not '0'\n"
		"soma.conf:12:9: listen wants HOST:PORT such as "
		"127.0.0.1:8000, not '8000'\n"
		"soma.conf:13:8: admin: 'http' is no port (0 to 65535); admin "
		"wants HOST:PORT such as 127.0.0.1:8000\n"
		"soma.conf:14:1: key 'access_log' is given twice: first at "
		"line 6\n");
	file_says(&s, "- log_level\n",
		  "soma.conf:1:1: expected lines of 'setting: value', found a "
		  "list\n");
	file_says(&s, "log_level: debug\n\tlisten: x\n",
		  "soma.conf:2:1: tab character used for indentation; use "
		  "spaces\n");
	assert_string_equal(settings_text(&s, SETTING_LOG_LEVEL), "error");
	settings_fini(&s);
}

static void the_command_line_wins(void **state)
{
	char *argv[] = {(char *)(uintptr_t) "--log-level",
			(char *)(uintptr_t) "warning",
			(char *)(uintptr_t) "--body-timeout=3s"};
	struct command serve = {.name = "serve", .words = ""};
	struct settings s, told;
	struct args args;
	struct err err = {0};
	struct buf dump;

	(void)state;
	setenv("SOMA_LISTEN", "127.0.0.1:1", 1);
	settings_init(&s);
	settings_flags(serve.flags);
	assert_int_equal(args_parse(&args, &serve, 3, argv, &err), 0);
	assert_int_equal(settings_read_args(&s, &args, &err), 0);
	assert_int_equal(settings_read_env(&s, &err), 0);
	file_says(&s,
		  "log_level: debug\n"
		  "listen: 127.0.0.1:2\n"
		  "admin: 127.0.0.1:3\n",
		  "");
	assert_string_equal(settings_text(&s, SETTING_LOG_LEVEL), "warning");
	assert_string_equal(settings_text(&s, SETTING_LISTEN), "127.0.0.1:1");
	assert_string_equal(settings_text(&s, SETTING_ADMIN), "127.0.0.1:3");

	/* The daemon hears the same from the keeper, sources included. */
	buf_init(&dump, 1 << 16);
	settings_dump(&s, &dump);
	assert_string_equal(buf_cstr(&dump), "elisten=127.0.0.1:1\n"
					     "fadmin=127.0.0.1:3\n"
					     "clog_level=warning\n"
					     "cbody_timeout=3s\n");
	settings_init(&told);
	assert_int_equal(settings_load(&told, buf_cstr(&dump), &err), 0);
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		assert_int_equal(told.values[i].number, s.values[i].number);
		assert_int_equal(told.values[i].from, s.values[i].from);
		if (s.values[i].text)
			assert_string_equal(told.values[i].text,
					    s.values[i].text);
	}
	assert_int_equal(settings_load(&told, "xlisten=1\n", &err), E_INVALID);
	assert_int_equal(settings_load(&told, "flisten\n", &err), E_INVALID);
	assert_int_equal(settings_load(&told, "fnone=1\n", &err), E_INVALID);
	assert_string_equal(settings_text(&told, SETTING_ADMIN), "127.0.0.1:3");
	buf_fini(&dump);
	settings_fini(&told);
	settings_fini(&s);
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		free((char *)(uintptr_t)serve.flags[i].name);
		free((char *)(uintptr_t)serve.flags[i].text);
	}
	unsetenv("SOMA_LISTEN");
}

/* The manual's table, a row a setting: print it with this test if it is to be
 * changed. */
static char *manual_row(const struct setting *row,
			const struct setting_value *v)
{
	static const char *const when[] = {[SETTING_LIVE] = "SIGHUP",
					   [SETTING_RESTART] = "restart",
					   [SETTING_OPTION] = "option only"};
	cleanup_free char *arg = mem_strdup(row->arg);

	for (char *p = arg; *p; p++)
		if (*p == '|')
			*p = '/';
	return mem_printf("| `%s` | %s | %s%s%s | %s | %s%s%s%s |\n", row->name,
			  arg, v->text ? "`" : "", v->text ? v->text : "",
			  v->text ? "`" : "", when[row->when], row->text,
			  row->env ? " (or `" : "", row->env ? row->env : "",
			  row->env ? "`)" : "");
}

static void the_manual_has_every_row(void **state)
{
	cleanup_free char *path =
		mem_printf("%s/docs/daemon.md", getenv("SOMA_SOURCE"));
	cleanup_free char *page = NULL;
	struct settings s;
	struct err err = {0};
	bool good = true;
	size_t len;

	(void)state;
	assert_int_equal(file_read(path, 1 << 20, &page, &len, &err), 0);
	settings_init(&s);
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		cleanup_free char *row =
			manual_row(&settings_table[i], &s.values[i]);

		if (!strstr(page, row)) {
			printf("docs/daemon.md has no line\n%s", row);
			good = false;
		}
	}
	assert_true(good);
	settings_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_sets_what_it_names),
		cmocka_unit_test(a_wrong_file_says_where_and_changes_nothing),
		cmocka_unit_test(the_command_line_wins),
		cmocka_unit_test(the_manual_has_every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
