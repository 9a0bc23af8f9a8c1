#include "http/limits.h"

#include "core/mem.h"
#include "http/server.h"

const struct http_limits http_limits_default = {
#define X(field, name, value, least, most, unit, text) .field = (value),
	HTTP_LIMITS(X)
#undef X
};

const struct http_limit http_limit_table[] = {
#define X(field, name, value, least, most, unit, text)                         \
	{(name), (value), (least), (most), (unit), (text)},
	HTTP_LIMITS(X)
#undef X
};

const size_t http_limit_count = ARRAY_LEN(http_limit_table);
