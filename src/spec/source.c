#include "spec/source.h"

#include <string.h>

#include "core/mem.h"

/* What is behind http:// or https://; NULL: it is none of these. */
static const char *behind_http(const char *source)
{
	if (strncmp(source, "http://", 7) == 0)
		return source + 7;
	return strncmp(source, "https://", 8) == 0 ? source + 8 : NULL;
}

bool source_has_user(const char *source)
{
	const char *host = behind_http(source);

	return host && memchr(host, '@', strcspn(host, "/?#"));
}

char *source_shown(const char *source)
{
	size_t len = strlen(source);

	/* Elsewhere a question mark is a part of a key. */
	if (behind_http(source))
		len = strcspn(source, "?#");
	return mem_printf("%.*s%s", (int)len, source,
			  source[len] ? "?..." : "");
}
