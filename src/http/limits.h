/* limits.h: the one list of limits of the HTTP server. */
#ifndef HTTP_LIMITS_H
#define HTTP_LIMITS_H

#include <stddef.h>
#include <stdint.h>

enum http_unit { HTTP_COUNT, HTTP_BYTES, HTTP_MS };

/* X(field, name, default, least, most, unit, text). The field is of struct
 * http_limits in server.h; the name is the user's. */
#define HTTP_LIMITS(X)                                                         \
	X(request_line_bytes, "request_line_bytes", 16 << 10, 64, 1 << 20,     \
	  HTTP_BYTES, "longest request line; longer is answered 414")          \
	X(header_bytes, "header_bytes", 64 << 10, 256, 16 << 20, HTTP_BYTES,   \
	  "all headers of a request; more is answered 431")                    \
	X(header_count, "header_count", 128, 1, 10000, HTTP_COUNT,             \
	  "headers of a request; more is answered 431")                        \
	X(body_bytes, "body_bytes", 0, 0, INT64_MAX, HTTP_BYTES,               \
	  "body of a request, 0 for no limit; more is answered 413")           \
	X(header_timeout_ms, "header_timeout", 30 * 1000, 100, 86400 * 1000,   \
	  HTTP_MS,                                                             \
	  "from the first byte of a request to the end of its headers; then "  \
	  "408 and close")                                                     \
	X(idle_timeout_ms, "idle_timeout", 75 * 1000, 100, 86400 * 1000,       \
	  HTTP_MS, "a connection without a request is closed after it")        \
	X(body_timeout_ms, "body_timeout", 60 * 1000, 100, 86400 * 1000,       \
	  HTTP_MS, "without a byte of an awaited body; then 408 and close")    \
	X(write_timeout_ms, "write_timeout", 60 * 1000, 100, 86400 * 1000,     \
	  HTTP_MS,                                                             \
	  "without the client taking a byte of the answer; then close")        \
	X(max_connections, "max_connections", 65536, 1, 10000000, HTTP_COUNT,  \
	  "client connections; more are answered 503 and closed")

struct http_limit {
	const char *name;
	uint64_t fallback; /* the default */
	uint64_t least, most;
	enum http_unit unit;
	const char *text;
};

/* The same list, for documents and configuration. */
extern const struct http_limit http_limit_table[];
extern const size_t http_limit_count;

#endif
