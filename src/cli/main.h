/* main.h: the commands that talk to a daemon: `soma deploy`, `soma get`, ... */
#ifndef CLI_MAIN_H
#define CLI_MAIN_H

/* Runs argv[1]; returns the exit code. Commands that src/main.c runs itself
 * (`serve`) are in the table of commands for their help only. */
int cli_main(int argc, char **argv);

/* Prints the help of one command, or of all when name is NULL. Returns the exit
 * code: 2 when there is no such command. */
int cli_help(const char *name);

#endif
