/* err.h: one list of error codes, and the error a person will read. */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/*
 * X(name, number, HTTP status, word, what it means, what to do). The word is
 * what clients see in {"error":{"code":WORD}}: it never changes once released.
 * docs/errors.md is made from this list.
 */
#define ERR_LIST(X)                                                            \
	X(E_INVALID, 1, 400, "invalid",                                        \
	  "what was sent cannot be read: broken HTTP or JSON, an input that "  \
	  "the model does not take, an argument that is none",                 \
	  "mend what the message names")                                       \
	X(E_UNAUTHORIZED, 2, 401, "unauthorized",                              \
	  "a call of the admin API without its token, or with another",        \
	  "send 'Authorization: Bearer TOKEN' with the line of admin.token "   \
	  "in the data directory; the commands take it from SOMA_TOKEN")       \
	X(E_FORBIDDEN, 3, 403, "forbidden",                                    \
	  "it is not allowed: a web page or another Host on the admin "        \
	  "address, a file or an address that this user may not have",         \
	  "call the admin API from a program and by its own address; or give " \
	  "the user the right that the message names")                         \
	X(E_NOTFOUND, 4, 404, "not_found",                                     \
	  "there is no api, endpoint, secret or file of that name; the "       \
	  "message has the nearest one",                                       \
	  "mind the spelling; 'soma get' lists apis and 'soma get API' shows " \
	  "the endpoint")                                                      \
	X(E_METHOD, 5, 405, "method_not_allowed",                              \
	  "the path is right, the method is not",                              \
	  "use one that the Allow header has")                                 \
	X(E_TIMEOUT, 6, 504, "timeout",                                        \
	  "no answer began within request_timeout or the caller's "            \
	  "X-Request-Timeout, though replicas were ready, or predict took "    \
	  "longer than predict_timeout",                                       \
	  "make predict faster, raise the timeout, or add replicas; 'soma "    \
	  "logs API' shows what it did")                                       \
	X(E_CONFLICT, 7, 409, "conflict",                                      \
	  "it contradicts what is there: an endpoint that another api has, a " \
	  "file that is there already, apis of several projects",              \
	  "change one of the two that the message names")                      \
	X(E_TOOBIG, 8, 413, "too_large",                                       \
	  "a body, a header, a project or an answer is larger than its limit", \
	  "send less, or raise the limit that the message names (settings of " \
	  "'soma serve')")                                                     \
	X(E_UNPROCESSABLE, 9, 422, "unprocessable",                            \
	  "it can be read and cannot be done: a config file with problems, "   \
	  "bytes that are not those announced",                                \
	  "mend each of the problems; they come with line and key")            \
	X(E_INTERNAL, 10, 500, "internal", "a fault of Soma itself",           \
	  "the daemon's log has the request's id and more; please report it")  \
	X(E_UPSTREAM, 11, 502, "replica_failed",                               \
	  "the replica ended, or answered nonsense, while it had the "         \
	  "request, which may not be repeated; 'cause' says how it ended",     \
	  "'soma logs API' has its last lines; requests with an "              \
	  "Idempotency-Key, or of an api with 'retry: safe', go to another "   \
	  "replica instead")                                                   \
	X(E_UNAVAILABLE, 12, 503, "unavailable",                               \
	  "no replica was ready in time, or at once for who would not wait "   \
	  "for one, or where none can start; or Soma is stopping",             \
	  "try again after Retry-After; 'soma get API' says why none is "      \
	  "ready")                                                             \
	X(E_OVERLOAD, 13, 503, "overloaded",                                   \
	  "more requests at once than replicas, queue or connections may "     \
	  "have, or than can be answered before their time is over",           \
	  "try again after Retry-After; add replicas, or raise "               \
	  "max_replica_concurrency, max_queue_length or the time that the "    \
	  "message names")                                                     \
	X(E_NOMEM, 14, 507, "out_of_memory", "there was no memory for it",     \
	  "give the api more, make the request smaller, or have fewer "        \
	  "requests at once")                                                  \
	X(E_NOSPACE, 15, 507, "no_space",                                      \
	  "the disk of the data directory is full",                            \
	  "make room there; 'soma doctor' shows what is left")                 \
	X(E_IO, 16, 500, "io",                                                 \
	  "the disk, or a connection of Soma's own, failed",                   \
	  "the message has the system's words; look at the disk")              \
	X(E_CANCELED, 17, 499, "canceled",                                     \
	  "the client went away before its answer; only logs show it",         \
	  "nothing, unless the client gave up too early")                      \
	X(E_BUSY, 18, 409, "busy",                                             \
	  "something else is using it: a rollout under way, a data directory " \
	  "or an address that is taken",                                       \
	  "wait for it, end it, or force it where the message says so")        \
	X(E_PREDICT, 19, 500, "predict_error",                                 \
	  "the predictor raised an exception, or the model failed",            \
	  "'soma logs API' has the traceback, by the id of the request; the "  \
	  "api may show it to clients with expose_tracebacks")                 \
	X(E_ENCODING, 20, 415, "unsupported_encoding",                         \
	  "the body came in a Content-Encoding that is not unpacked here",     \
	  "send it as gzip, as deflate, or without one")

enum err_code {
#define X(name, number, ...) name = -(number),
	ERR_LIST(X)
#undef X
};

enum { ERR_MSG_MAX = 1024 };

/* An error with its text. Initialise with {0}; holds no memory of its own. */
struct err {
	int code; /* 0, or one of enum err_code */
	char msg[ERR_MSG_MAX];
};

/* The functions that set one are cold: what leads to them is kept out of the
 * code that runs for each request.
 *
 * Sets code and text, replacing what was there. Returns code, so that a
 * function can end in `return err_set(err, E_X, ...)`. err may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((cold, format(printf, 3, 4)));
int err_setv(struct err *err, int code, const char *fmt, va_list args)
	__attribute__((cold, format(printf, 3, 0)));

/* Puts "text: " before the message that is there. Returns err->code. */
int err_wrap(struct err *err, const char *fmt, ...)
	__attribute__((cold, format(printf, 2, 3)));

/* As err_set, with ": " and the text of errno value `sys` behind; picks the
 * code from sys (ENOENT: E_NOTFOUND, ENOSPC: E_NOSPACE, ...). */
int err_sys(struct err *err, int sys, const char *fmt, ...)
	__attribute__((cold, format(printf, 3, 4)));

/* A row of the list, for the page; NULL behind the last. */
struct err_row {
	int http;
	const char *word, *meaning, *remedy;
};
const struct err_row *err_row_at(size_t i);

/* HTTP status and word of a code; 500 and "internal" for unknown ones. */
int err_http(int code);
const char *err_word(int code);

#endif
