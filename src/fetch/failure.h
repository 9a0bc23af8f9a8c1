/* failure.h: why a fetch failed: a code for programs, words for people. */
#ifndef FETCH_FAILURE_H
#define FETCH_FAILURE_H

#include <stdbool.h>

#include "core/err.h"

/* X(name, word). The words are part of the interface. */
#define FAILURE_LIST(X)                                                        \
	X(FAIL_BAD_URL, "bad_url")                                             \
	X(FAIL_NOT_FOUND, "not_found")                                         \
	X(FAIL_FORBIDDEN, "forbidden")                                         \
	X(FAIL_UNREACHABLE, "unreachable")                                     \
	X(FAIL_CORRUPT, "corrupt")                                             \
	X(FAIL_CHANGED, "changed")                                             \
	X(FAIL_NO_SPACE, "no_space")                                           \
	X(FAIL_TOO_LARGE, "too_large")                                         \
	X(FAIL_BROKEN, "broken")

enum failure_code {
#define X(name, word) name,
	FAILURE_LIST(X)
#undef X
};

struct failure {
	enum failure_code code;
	bool again; /* trying later may help */
	char text[ERR_MSG_MAX];
};

/* Returns -1, so that a function can end in `return failure_set(...)`. */
int failure_set(struct failure *why, enum failure_code code, bool again,
		const char *fmt, ...)
	__attribute__((cold, format(printf, 4, 5)));
/* What the shelf or the disk said. Returns -1. */
int failure_from(struct failure *why, const struct err *err);
const char *failure_word(enum failure_code code);

#endif
