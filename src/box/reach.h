/* reach.h: whether a user can get to a path, and what is in the way. */
#ifndef BOX_REACH_H
#define BOX_REACH_H

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

/* First ancestor directory of `path` that others may not search (no o+x), after
 * symbolic links are resolved; path itself is not looked at. The text is the
 * caller's (free()). NULL: none, any user can get to path. */
char *box_blocked_ancestor(const char *path);

enum reach_verdict {
	REACH_OK,
	REACH_MISSING,	 /* `where` does not exist */
	REACH_NOT_DIR,	 /* `where` should be a directory and is none */
	REACH_BLOCKED,	 /* `where` is a directory it may not search */
	REACH_NOT_READ,	 /* it gets to `where`, and may not read it */
	REACH_NOT_EXEC,	 /* it gets to `where`, and may not execute it */
	REACH_NOEXEC_FS, /* nothing can be executed in that file system */
	REACH_FAILED,	 /* another error: `sys` */
};

struct reach {
	enum reach_verdict verdict;
	int sys;	      /* errno that says the same; 0 when OK */
	char where[PATH_MAX]; /* links resolved up to here */
	struct stat st;	      /* of where, unless missing */
};

/* Looks with this process's own rights, one component after the other. want is
 * R_OK, X_OK or both; a directory that is to be read is to be searched too. */
enum reach_verdict reach_check(const char *path, int want, struct reach *r);

/* What is in the way, as half a sentence: "/root is only for its owner (mode
 * 0700)". Returns out. */
const char *reach_words(const struct reach *r, char *out, size_t size);

/* What to do about it: a whole sentence without the word remedy. */
const char *reach_remedy(const struct reach *r, char *out, size_t size);

#endif
