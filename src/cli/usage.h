/* usage.h: what may stand where, read from the usage of commands and flags. */
#ifndef CLI_USAGE_H
#define CLI_USAGE_H

#include <stdbool.h>
#include <stddef.h>

enum { USAGE_WORDS_MAX = 256 };

struct usage {
	bool apis, files, dirs, commands; /* API, FILE, DIR, COMMAND */
	char words[USAGE_WORDS_MAX]; /* those written out, a space between */
};

/* "API [FILE|-]" at 1 is files; "set NAME | list" at 0 the words "set list".
 * All alternatives together. False: nothing that can be named. */
bool usage_at(const char *text, size_t at, struct usage *ret);

#endif
