/* args.h: what a command of the program takes, as a row of a table, and reading
 * argv by it. Help, pages and completion are made from the same row. */
#ifndef CORE_ARGS_H
#define CORE_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

enum { ARGS_FLAGS_MAX = 24, ARGS_WORDS_MAX = 4 };

struct flag {
	const char *name;  /* without "--"; NULL ends the list */
	char letter;	   /* 0: none */
	const char *value; /* what it takes: "URL", "json|yaml"; NULL: nothing
			    */
	const char *text;  /* NULL: for our own scripts, not shown */
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
	/* As usage shows them: "API [FILE|-]". Capitals stand for something,
	 * small letters for themselves; alternatives are apart by " | ". */
	const char *words;
	size_t min_words, max_words;
	const char *summary; /* one line, for the list */
	const char *help;    /* paragraphs; one that begins with spaces is kept
				as it is */
	const char *notes;   /* more of them, for the manual; or NULL */
	struct flag flags[ARGS_FLAGS_MAX];
	int (*fn)(const struct args *a); /* the exit code */
};

/* argv without the command's name. E_INVALID with what is wrong. */
int args_parse(struct args *a, const struct command *c, int argc, char **argv,
	       struct err *err);
/* NULL when not given; "" for a flag without a value. */
const char *args_value(const struct args *a, const char *flag);
bool args_has(const struct args *a, const char *flag);
/* The word at `at`, or NULL. */
const char *args_word(const struct args *a, size_t at);

/* The flag at `at`: the command's own, then those of args_common that it has
 * not itself. NULL behind the last. */
const struct flag *args_flag(const struct flag *own, size_t at);
/* Flags that every command has, after its own. */
extern const struct flag args_common[];

#endif
