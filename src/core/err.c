#include "core/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int err_setv(struct err *err, int code, const char *fmt, va_list args)
{
	if (err) {
		/* Through a copy: an argument may be err->msg itself. */
		char text[ERR_MSG_MAX];

		vsnprintf(text, sizeof text, fmt, args);
		memcpy(err->msg, text, sizeof text);
		err->code = code;
	}
	return code;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	err_setv(err, code, fmt, args);
	va_end(args);
	return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char head[ERR_MSG_MAX], whole[ERR_MSG_MAX];
	va_list args;
	int n;

	if (!err)
		return E_INTERNAL;
	va_start(args, fmt);
	vsnprintf(head, sizeof head, fmt, args);
	va_end(args);
	n = snprintf(whole, sizeof whole, "%s: %s", head, err->msg);
	if (n < 0)
		return err->code;
	memcpy(err->msg, whole, sizeof whole);
	return err->code;
}

static int code_of_errno(int sys)
{
	switch (sys) {
	case ENOENT:
		return E_NOTFOUND;
	case EACCES:
	case EPERM:
		return E_FORBIDDEN;
	case ENOSPC:
	case EDQUOT:
		return E_NOSPACE;
	case ENOMEM:
		return E_NOMEM;
	case EEXIST:
		return E_CONFLICT;
	case ETIMEDOUT:
		return E_TIMEOUT;
	case EINVAL:
		return E_INVALID;
	default:
		return E_IO;
	}
}

int err_sys(struct err *err, int sys, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return err_set(err, code_of_errno(sys), "%s: %s", text, strerror(sys));
}

int err_http(int code)
{
	switch (code) {
#define X(name, number, http, ...)                                             \
	case name:                                                             \
		return http;
		ERR_LIST(X)
#undef X
	default:
		return 500;
	}
}

const char *err_word(int code)
{
	switch (code) {
#define X(name, number, http, word, ...)                                       \
	case name:                                                             \
		return word;
		ERR_LIST(X)
#undef X
	default:
		return "internal";
	}
}

const struct err_row *err_row_at(size_t i)
{
	static const struct err_row rows[] = {
#define X(name, number, http, word, meaning, remedy)                           \
	{http, word, meaning, remedy},
		ERR_LIST(X)
#undef X
	};

	return i < sizeof rows / sizeof rows[0] ? &rows[i] : NULL;
}
