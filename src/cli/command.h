/* command.h: what a command is: its row in the table, and what it gets when it
 * runs. Help, usage and the parser come from the row. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/* Exit codes: part of the interface (docs/cli.md). */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	     /* the deploy failed, or the daemon refused */
	CLI_USAGE = 2,	     /* wrong arguments */
	CLI_UNREACHABLE = 3, /* no daemon answers */
	CLI_NOTFOUND = 4,    /* no such api, no such secret */
	CLI_CONFIG = 5,	     /* the config file has problems */
};

enum { ARGS_FLAGS_MAX = 12, ARGS_WORDS_MAX = 4 };

struct flag {
	const char *name;  /* without "--"; NULL ends the list */
	char letter;	   /* 0: none */
	const char *value; /* what it takes, for help: "URL"; NULL: nothing */
	const char *text;
};

/* What was given. Everything borrowed from argv. */
struct args {
	const char *words[ARGS_WORDS_MAX];
	size_t n_words;
	const struct flag *flags;	    /* of the command */
	const char *values[ARGS_FLAGS_MAX]; /* NULL: not given; "": no value */
};

struct command {
	const char *name;
	const char *words; /* "[FILE|DIR]" */
	size_t min_words, max_words;
	const char *summary; /* one line, for the list */
	const char *help;    /* paragraphs */
	struct flag flags[ARGS_FLAGS_MAX];
	int (*fn)(const struct args *a); /* NULL: run by src/main.c */
};

/* argv without the command's name. E_INVALID with what is wrong. */
int args_parse(struct args *a, const struct command *c, int argc, char **argv,
	       struct err *err);
/* NULL when not given; "" for a flag without a value. */
const char *args_value(const struct args *a, const char *flag);
bool args_has(const struct args *a, const char *flag);
/* The word at `at`, or NULL. */
const char *args_word(const struct args *a, size_t at);
/* --output json? False with err when it is neither table nor json. */
bool args_json(const struct args *a, bool *ret_json, struct err *err);

/* Flags that every command has, after its own. */
extern const struct flag args_common[];

/* One file each. */
int cmd_deploy(const struct args *a);
int cmd_get(const struct args *a);
int cmd_logs(const struct args *a);
int cmd_predict(const struct args *a);
int cmd_delete(const struct args *a);
int cmd_refresh(const struct args *a);
int cmd_secret(const struct args *a);
int cmd_version(const struct args *a);

#endif
