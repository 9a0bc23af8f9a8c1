#include "http/limits.h"

#include "core/mem.h"
#include "http/server.h"

const struct http_limits http_limits_default = {
#define X(name, value, unit, text) .name = (value),
	HTTP_LIMITS(X)
#undef X
};

const struct http_limit http_limit_table[] = {
#define X(name, value, unit, text) {#name, (value), (unit), (text)},
	HTTP_LIMITS(X)
#undef X
};

const size_t http_limit_count = ARRAY_LEN(http_limit_table);
