#include "cli/main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/term.h"

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

static int run(const struct command *c, int argc, char **argv)
{
	struct err err = {0};
	struct args a;
	int rc;

	if (args_parse(&a, c, argc, argv, &err) != 0)
		return term_fail(CLI_USAGE, "%s", err.msg);
	rc = args_has(&a, "help") ? help_show(c) : c->fn(&a);
	if (fflush(stdout) != 0 && rc == CLI_OK)
		rc = CLI_FAILED;
	return rc;
}

int cli_main(int argc, char **argv, const struct command *serve)
{
	const struct command *c;
	const char *name;
	int skip = take_leading_admin(argc, argv);

	command_set_serve(serve);
	argc -= skip;
	argv += skip;
	name = argc > 1 ? argv[1] : "help";
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		puts("soma " SOMA_VERSION);
		return CLI_OK;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	c = command_find(name);
	if (!c)
		return help_unknown(name);
	return run(c, argc > 2 ? argc - 2 : 0, argv + 2);
}
