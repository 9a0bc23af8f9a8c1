/* main.h: the command line: `soma deploy`, `soma get`, ... */
#ifndef CLI_MAIN_H
#define CLI_MAIN_H

#include "core/args.h"

/* Runs argv[1]; returns the exit code. serve: the row of `soma serve`, which is
 * another layer's; may be NULL. */
int cli_main(int argc, char **argv, const struct command *serve);

#endif
