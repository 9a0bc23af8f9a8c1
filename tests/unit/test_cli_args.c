#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/main.h"
#include "cli/output.h"
#include "core/mem.h"

static const struct command logs = {
	.name = "logs",
	.words = "API [X]",
	.min_words = 1,
	.max_words = 2,
	.flags = {{"follow", 'f', NULL, ""},
		  {"watch", 'w', NULL, ""},
		  {"tail", 'n', "N", ""},
		  {"output", 'o', "table|json", ""}},
};

static int parse(struct args *a, struct err *err, int n, ...)
{
	static char *argv[16];
	va_list list;

	va_start(list, n);
	for (int i = 0; i < n; i++)
		argv[i] = va_arg(list, char *);
	va_end(list);
	*err = (struct err){0};
	return args_parse(a, &logs, n, argv, err);
}

static void flags_may_stand_anywhere(void **state)
{
	struct args a;
	struct err err;

	(void)state;
	assert_int_equal(parse(&a, &err, 4, "--tail", "5", "iris", "-f"), 0);
	assert_string_equal(args_word(&a, 0), "iris");
	assert_null(args_word(&a, 1));
	assert_string_equal(args_value(&a, "tail"), "5");
	assert_true(args_has(&a, "follow"));
	assert_false(args_has(&a, "watch"));
	assert_null(args_value(&a, "admin"));
}

static void every_spelling_of_a_value(void **state)
{
	struct args a;
	struct err err;

	(void)state;
	assert_int_equal(parse(&a, &err, 2, "x", "--tail=7"), 0);
	assert_string_equal(args_value(&a, "tail"), "7");
	assert_int_equal(parse(&a, &err, 2, "x", "-n7"), 0);
	assert_string_equal(args_value(&a, "tail"), "7");
	assert_int_equal(parse(&a, &err, 3, "x", "-n", "7"), 0);
	assert_string_equal(args_value(&a, "tail"), "7");
	assert_int_equal(parse(&a, &err, 3, "x", "-fwn", "7"), 0);
	assert_true(args_has(&a, "follow") && args_has(&a, "watch"));
	assert_string_equal(args_value(&a, "tail"), "7");
	assert_int_equal(parse(&a, &err, 2, "x", "--admin=http://h:1"), 0);
	assert_string_equal(args_value(&a, "admin"), "http://h:1");
	assert_int_equal(parse(&a, &err, 2, "x", "--tail="), 0);
	assert_string_equal(args_value(&a, "tail"), "");
}

static void a_dash_and_what_follows_two_are_words(void **state)
{
	struct args a;
	struct err err;

	(void)state;
	assert_int_equal(parse(&a, &err, 2, "x", "-"), 0);
	assert_string_equal(args_word(&a, 1), "-");
	assert_int_equal(parse(&a, &err, 3, "--", "-f", "--tail"), 0);
	assert_string_equal(args_word(&a, 0), "-f");
	assert_string_equal(args_word(&a, 1), "--tail");
}

static void check(const char *text, int rc, const struct err *err)
{
	assert_int_equal(rc, E_INVALID);
	assert_string_equal(err->msg, text);
}

static void mistakes_are_told_with_the_remedy(void **state)
{
	struct args a;
	struct err err;
	int rc;

	(void)state;
	rc = parse(&a, &err, 2, "x", "--folow");
	check("soma logs has no flag --folow; did you mean --follow?", rc,
	      &err);
	rc = parse(&a, &err, 2, "x", "--zzzzzzzz=1");
	check("soma logs has no flag --zzzzzzzz; 'soma logs --help' lists "
	      "them",
	      rc, &err);
	rc = parse(&a, &err, 2, "x", "-z");
	check("soma logs has no flag -z; 'soma logs --help' lists them", rc,
	      &err);
	rc = parse(&a, &err, 2, "x", "--tail");
	check("--tail needs a value: --tail N", rc, &err);
	rc = parse(&a, &err, 2, "x", "-n");
	check("-n needs a value: -n N", rc, &err);
	rc = parse(&a, &err, 2, "x", "--follow=yes");
	check("--follow takes no value", rc, &err);
	rc = parse(&a, &err, 3, "x", "y", "z");
	check("soma logs: one argument too many: 'z'; usage: soma logs API "
	      "[X]",
	      rc, &err);
	rc = parse(&a, &err, 1, "-f");
	check("an argument is missing; usage: soma logs API [X]", rc, &err);
	assert_int_equal(parse(&a, &err, 1, "-h"), 0);
}

static void output_is_a_table_json_or_yaml(void **state)
{
	enum output output = OUTPUT_JSON;
	struct args a;
	struct err err;

	(void)state;
	parse(&a, &err, 1, "x");
	assert_int_equal(output_read(&a, &output), CLI_OK);
	assert_int_equal(output, OUTPUT_TABLE);
	parse(&a, &err, 3, "x", "-o", "json");
	assert_int_equal(output_read(&a, &output), CLI_OK);
	assert_int_equal(output, OUTPUT_JSON);
	parse(&a, &err, 2, "x", "--output=yaml");
	assert_int_equal(output_read(&a, &output), CLI_OK);
	assert_int_equal(output, OUTPUT_YAML);
	parse(&a, &err, 2, "x", "--output=xml");
	assert_int_equal(output_read(&a, &output), CLI_USAGE);
}

static int serve(const struct args *a)
{
	return args_has(a, "admin") ? 40 : 41;
}

static const struct command serve_row = {
	.name = "serve",
	.words = "",
	.summary = "",
	.help = "",
	.flags = {{"admin", 0, "HOST:PORT", "its own meaning of it"}},
	.fn = serve,
};

static int run(int n, ...)
{
	char *argv[8] = {"soma"};
	va_list list;

	va_start(list, n);
	for (int i = 0; i < n; i++)
		argv[i + 1] = va_arg(list, char *);
	va_end(list);
	return cli_main(n + 1, argv, &serve_row);
}

static void exit_codes_are_as_documented(void **state)
{
	(void)state;
	unsetenv("SOMA_ADMIN");
	assert_int_equal(run(0), CLI_OK);
	assert_int_equal(run(1, "help"), CLI_OK);
	assert_int_equal(run(2, "help", "deploy"), CLI_OK);
	assert_int_equal(run(2, "help", "deplyo"), CLI_USAGE);
	assert_int_equal(run(1, "--version"), CLI_OK);
	assert_int_equal(run(1, "deplyo"), CLI_USAGE);
	assert_int_equal(run(2, "serve", "--help"), CLI_OK);
	assert_int_equal(run(1, "serve"), 41);
	assert_int_equal(run(3, "serve", "--admin", "h:1"), 40);
	assert_int_equal(run(2, "serve", "more"), CLI_USAGE);
	assert_int_equal(run(2, "delete", "--help"), CLI_OK);
	assert_int_equal(run(1, "delete"), CLI_USAGE);
	assert_int_equal(run(3, "get", "--output", "xml"), CLI_USAGE);
	assert_int_equal(run(3, "get", "--admin", "ftp://x"), CLI_USAGE);
	/* Port 1 of this machine: nobody is there. */
	assert_int_equal(run(3, "get", "--admin", "127.0.0.1:1"),
			 CLI_UNREACHABLE);
	assert_int_equal(run(3, "--admin", "http://127.0.0.1:1", "get"),
			 CLI_UNREACHABLE);
	assert_int_equal(run(3, "version", "--admin", "127.0.0.1:1"), CLI_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_may_stand_anywhere),
		cmocka_unit_test(every_spelling_of_a_value),
		cmocka_unit_test(a_dash_and_what_follows_two_are_words),
		cmocka_unit_test(mistakes_are_told_with_the_remedy),
		cmocka_unit_test(output_is_a_table_json_or_yaml),
		cmocka_unit_test(exit_codes_are_as_documented),
	};

	return cmocka_run_group_tests_name("cli args", tests, NULL, NULL);
}
