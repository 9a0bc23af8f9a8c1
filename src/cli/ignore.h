/* ignore.h: which files of a folder are left out: gitignore's rules. */
#ifndef CLI_IGNORE_H
#define CLI_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

struct ignore_rule {
	char *pattern;	/* owned; without '!', leading and trailing '/' */
	bool keep;	/* '!': what an earlier rule left out comes back */
	bool dirs_only; /* trailing '/' */
	bool whole;	/* has a '/' before its end: matched from the top */
};

/* Rules in order; the last one that matches a path decides. */
struct ignore {
	struct ignore_rule *rules; /* owned */
	size_t n;
};

void ignore_init(struct ignore *ig);
void ignore_fini(struct ignore *ig);
/* Text of an ignore file: comments, '!', leading and trailing '/', '*', '?',
 * '[a-z]', '**', backslashes. */
void ignore_add(struct ignore *ig, const char *text, size_t len);
/* Whether `path` (relative, '/'-separated) is left out. What is below a
 * directory that is left out is not asked about. */
bool ignore_match(const struct ignore *ig, const char *path, bool is_dir);

/* One pattern against a whole path: '*' and '?' stop at '/', '**' does not. */
bool ignore_glob(const char *pattern, const char *path);

#endif
