#include "cli/main.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/term.h"
#include "core/mem.h"
#include "core/str.h"

#define FLAG_OUTPUT                                                            \
	{                                                                      \
		"output", 'o', "table|json", "for people, or for programs"     \
	}

static const struct command commands[] = {
	{
		.name = "serve",
		.words = "",
		.summary = "run the daemon, in the foreground",
		.help = "Runs the daemon and the keeper that holds its "
			"sockets and processes. Ends on\nSIGTERM and Ctrl-C, "
			"after the requests in flight.",
		.flags = {{"data", 0, "DIR", "where everything is kept"},
			  {"listen", 0, "HOST:PORT",
			   "where apis answer (127.0.0.1:8000)"},
			  {"admin", 0, "HOST:PORT",
			   "where the admin API answers (127.0.0.1:8002)"}},
	},
	{
		.name = "deploy",
		.words = "[FILE|DIR]",
		.max_words = 1,
		.summary = "make or update the apis of a config file",
		.help = "Sends the config file and the files beside it, then "
			"follows until every api is\nlive or has failed. FILE "
			"is soma.yaml by default, else cortex.yaml; of a DIR,"
			"\nthe one in it.\n\nLeft out of the project: hidden "
			"files (but .env), __pycache__, *.pyc, virtual\n"
			"environments, the config file, and what .gitignore, "
			".cortexignore and\n.somaignore name. A '!pattern' in "
			".somaignore brings a file back.",
		.flags = {{"force", 'f', NULL,
			   "deploy although a rollout is under way"},
			  {"no-wait", 0, NULL,
			   "return as soon as the deploy is accepted"},
			  {"timeout", 0, "TIME",
			   "stop waiting after \"90s\", \"10m\"; the rollout "
			   "goes on"},
			  FLAG_OUTPUT},
		.fn = cmd_deploy,
	},
	{
		.name = "get",
		.words = "[API]",
		.max_words = 1,
		.summary = "show all apis, or one with its replicas",
		.help = "Shows status, replicas and requests.",
		.flags = {{"watch", 'w', NULL, "again every 2 seconds"},
			  FLAG_OUTPUT},
		.fn = cmd_get,
	},
	{
		.name = "logs",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "show what an api's replicas print",
		.help = "Prints TIME REPLICA [REQUEST-ID] LINE.",
		.flags = {{"follow", 'f', NULL, "go on until Ctrl-C"},
			  {"tail", 'n', "N", "this many last lines (100)"},
			  {"output", 'o', "table|json",
			   "for people, or a JSON object a line"}},
		.fn = cmd_logs,
	},
	{
		.name = "predict",
		.words = "API [FILE|JSON|-]",
		.min_words = 1,
		.max_words = 2,
		.summary = "send a request to an api and print its answer",
		.help = "The request is a file, JSON written out, or standard "
			"input ('-'). What is JSON\nis sent as such, *.txt as "
			"text, anything else as bytes.",
		.flags = {{NULL, 0, NULL, NULL}},
		.fn = cmd_predict,
	},
	{
		.name = "delete",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "delete an api",
		.help = "Its replicas end after the requests in flight.",
		.flags = {FLAG_OUTPUT},
		.fn = cmd_delete,
	},
	{
		.name = "refresh",
		.words = "API",
		.min_words = 1,
		.max_words = 1,
		.summary = "start all replicas of an api anew",
		.help = "For a predictor that reads something again when it "
			"starts.",
		.flags = {FLAG_OUTPUT},
		.fn = cmd_refresh,
	},
	{
		.name = "secret",
		.words = "set NAME [VALUE|-] | list | rm NAME",
		.min_words = 1,
		.max_words = 3,
		.summary = "keep values that predictors get as environment",
		.help = "In the config file: env: {TOKEN: {from_secret: "
			"name}}. Values are never shown\nagain. Without VALUE "
			"it is asked for, or read from standard input ('-'); "
			"a VALUE\nin the command can be seen by other users of "
			"the machine.",
		.flags = {FLAG_OUTPUT},
		.fn = cmd_secret,
	},
	{
		.name = "version",
		.words = "",
		.summary = "show the versions of this program and the daemon",
		.help = "Succeeds without a daemon too.",
		.flags = {FLAG_OUTPUT},
		.fn = cmd_version,
	},
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[ARRAY_LEN(commands)];
	const char *near;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		names[i] = commands[i].name;
	near = str_nearest(name, names, ARRAY_LEN(names));
	if (near)
		return term_fail(CLI_USAGE,
				 "soma has no command '%s'; did you mean "
				 "'soma %s'?",
				 name, near);
	return term_fail(CLI_USAGE,
			 "soma has no command '%s'; 'soma help' lists them",
			 name);
}

static void print_flag(const struct flag *f)
{
	char left[64], letter[8] = "    ";

	if (f->letter)
		snprintf(letter, sizeof letter, "-%c, ", f->letter);
	snprintf(left, sizeof left, "%s--%s%s%s", letter, f->name,
		 f->value ? " " : "", f->value ? f->value : "");
	printf("  %-26s  %s\n", left, f->text);
}

static bool has_flag(const struct command *c, const char *name)
{
	for (const struct flag *f = c->flags; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return true;
	return false;
}

static int help_of(const struct command *c)
{
	printf("usage: soma %s%s%s [flags]\n\n%s\n\nflags:\n", c->name,
	       *c->words ? " " : "", c->words, c->help);
	for (const struct flag *f = c->flags; f->name; f++)
		print_flag(f);
	for (const struct flag *f = args_common; f->name; f++)
		if (!has_flag(c, f->name))
			print_flag(f);
	return CLI_OK;
}

static int help_of_all(void)
{
	puts("Soma makes a model an HTTP API.\n\n"
	     "usage: soma COMMAND [arguments] [flags]\n\ncommands:");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	puts("  help       show this, or the help of one command\n\n"
	     "environment:\n"
	     "  SOMA_ADMIN   admin address of the daemon "
	     "(http://127.0.0.1:8002)\n"
	     "  SOMA_TOKEN   its token; found by itself for a daemon of the "
	     "same user\n"
	     "  NO_COLOR     no colours\n\n"
	     "exit codes:\n"
	     "  0  done\n"
	     "  1  failed: the deploy, the request, or the daemon refused\n"
	     "  2  wrong arguments\n"
	     "  3  no daemon answers\n"
	     "  4  no such api or secret\n"
	     "  5  the config file has problems\n\n"
	     "'soma COMMAND --help' tells more.");
	return CLI_OK;
}

int cli_help(const char *name)
{
	const struct command *c;

	if (!name)
		return help_of_all();
	c = find(name);
	return c ? help_of(c) : unknown(name);
}

static int run(const struct command *c, int argc, char **argv)
{
	struct err err = {0};
	struct args a;
	int rc;

	if (args_parse(&a, c, argc, argv, &err) != 0)
		return term_fail(CLI_USAGE, "%s", err.msg);
	if (args_has(&a, "help"))
		return help_of(c);
	if (!c->fn)
		return term_fail(CLI_FAILED, "soma %s cannot run here",
				 c->name);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	rc = c->fn(&a);
	curl_global_cleanup();
	if (fflush(stdout) != 0 && rc == CLI_OK)
		rc = CLI_FAILED;
	return rc;
}

/* `soma --admin URL get` is `soma get --admin URL`. Returns how many arguments
 * were taken. */
static int take_leading_admin(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "--admin") == 0) {
		setenv("SOMA_ADMIN", argv[2], 1);
		return 2;
	}
	if (argc > 1 && strncmp(argv[1], "--admin=", 8) == 0) {
		setenv("SOMA_ADMIN", argv[1] + 8, 1);
		return 1;
	}
	return 0;
}

int cli_main(int argc, char **argv)
{
	const struct command *c;
	const char *name;
	int skip = take_leading_admin(argc, argv);

	argc -= skip;
	argv += skip;
	name = argc > 1 ? argv[1] : "help";
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		puts("soma " SOMA_VERSION);
		return CLI_OK;
	}
	if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 ||
	    strcmp(name, "-h") == 0)
		return cli_help(argc > 2 ? argv[2] : NULL);
	c = find(name);
	if (!c)
		return unknown(name);
	return run(c, argc - 2, argv + 2);
}
