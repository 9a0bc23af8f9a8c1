/* err.h: one list of error codes, and the error a person will read. */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/*
 * X(name, number, HTTP status, word). The word is what clients see in
 * {"error":{"code":WORD}}: it never changes once released.
 */
#define ERR_LIST(X)                                                            \
	X(E_INVALID, 1, 400, "invalid")                                        \
	X(E_UNAUTHORIZED, 2, 401, "unauthorized")                              \
	X(E_FORBIDDEN, 3, 403, "forbidden")                                    \
	X(E_NOTFOUND, 4, 404, "not_found")                                     \
	X(E_METHOD, 5, 405, "method_not_allowed")                              \
	X(E_TIMEOUT, 6, 504, "timeout")                                        \
	X(E_CONFLICT, 7, 409, "conflict")                                      \
	X(E_TOOBIG, 8, 413, "too_large")                                       \
	X(E_UNPROCESSABLE, 9, 422, "unprocessable")                            \
	X(E_INTERNAL, 10, 500, "internal")                                     \
	X(E_UPSTREAM, 11, 502, "replica_failed")                               \
	X(E_UNAVAILABLE, 12, 503, "unavailable")                               \
	X(E_OVERLOAD, 13, 503, "overloaded")                                   \
	X(E_NOMEM, 14, 507, "out_of_memory")                                   \
	X(E_NOSPACE, 15, 507, "no_space")                                      \
	X(E_IO, 16, 500, "io")                                                 \
	X(E_CANCELED, 17, 499, "canceled")                                     \
	X(E_BUSY, 18, 409, "busy")

enum err_code {
#define X(name, number, http, word) name = -(number),
	ERR_LIST(X)
#undef X
};

enum { ERR_MSG_MAX = 1024 };

/* An error with its text. Initialise with {0}; holds no memory of its own. */
struct err {
	int code; /* 0, or one of enum err_code */
	char msg[ERR_MSG_MAX];
};

/* Sets code and text, replacing what was there. Returns code, so that a
 * function can end in `return err_set(err, E_X, ...)`. err may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int err_setv(struct err *err, int code, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));

/* Puts "text: " before the message that is there. Returns err->code. */
int err_wrap(struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* As err_set, with ": " and the text of errno value `sys` behind; picks the
 * code from sys (ENOENT: E_NOTFOUND, ENOSPC: E_NOSPACE, ...). */
int err_sys(struct err *err, int sys, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* HTTP status and word of a code; 500 and "internal" for unknown ones. */
int err_http(int code);
const char *err_word(int code);

#endif
