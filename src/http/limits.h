/* limits.h: the one list of limits of the HTTP server. */
#ifndef HTTP_LIMITS_H
#define HTTP_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* X(name, default, unit, text). The struct is http_limits in server.h. */
#define HTTP_LIMITS(X)                                                         \
	X(request_line_bytes, 16 * 1024, "bytes",                              \
	  "longest request line; longer is answered 414")                      \
	X(header_bytes, 64 * 1024, "bytes",                                    \
	  "all headers of a request, and of an upstream's answer; more is "    \
	  "answered 431")                                                      \
	X(header_count, 128, "", "headers of a request; more is answered 431") \
	X(body_bytes, 0, "bytes",                                              \
	  "body of a request, 0 for no limit; more is answered 413")           \
	X(header_timeout_ms, 30 * 1000, "ms",                                  \
	  "from the first byte of a request to the end of its headers; then "  \
	  "408 and close")                                                     \
	X(idle_timeout_ms, 75 * 1000, "ms",                                    \
	  "a connection without a request is closed after it")                 \
	X(body_timeout_ms, 60 * 1000, "ms",                                    \
	  "without a byte of an awaited body; then 408 and close")             \
	X(write_timeout_ms, 60 * 1000, "ms",                                   \
	  "without the client taking a byte of the answer; then close")        \
	X(max_connections, 65536, "",                                          \
	  "client connections of a server; more are answered 503 and closed")

struct http_limit {
	const char *name;
	uint64_t fallback; /* the default */
	const char *unit;
	const char *text;
};

/* The same list, for documents and configuration. */
extern const struct http_limit http_limit_table[];
extern const size_t http_limit_count;

#endif
