#include "fetch/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/str.h"

int failure_set(struct failure *why, enum failure_code code, bool again,
		const char *fmt, ...)
{
	/* Through a copy: an argument may be why->text itself. */
	char text[ERR_MSG_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	/* It may quote a source: a name, a code, why a connection failed. */
	str_tidy(text, false);
	memcpy(why->text, text, sizeof text);
	why->code = code;
	why->again = again;
	return -1;
}

int failure_from(struct failure *why, const struct err *err)
{
	switch (err->code) {
	case E_NOSPACE:
		return failure_set(why, FAIL_NO_SPACE, true, "%s", err->msg);
	case E_FORBIDDEN:
		return failure_set(why, FAIL_FORBIDDEN, false, "%s", err->msg);
	case E_NOTFOUND: /* a file that gc took meanwhile */
		return failure_set(why, FAIL_CHANGED, true, "%s", err->msg);
	case E_INVALID: /* of what cannot be, there is no later */
		return failure_set(why, FAIL_BROKEN, false, "%s", err->msg);
	default:
		return failure_set(why, FAIL_BROKEN, true, "%s", err->msg);
	}
}

const char *failure_word(enum failure_code code)
{
	static const char *const words[] = {
#define X(name, word) [name] = word,
		FAILURE_LIST(X)
#undef X
	};

	return words[code];
}
