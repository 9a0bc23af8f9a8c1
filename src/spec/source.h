/* source.h: how the place of a model may be written, once for the parser and
 * for the schema. */
#ifndef SPEC_SOURCE_H
#define SPEC_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

/* URLs, in what POSIX' extended and JavaScript's regular expressions have in
 * common. No user name and password: a URL is shown to everybody. */
#define SOURCE_URL_PATTERN                                                     \
	"^(s3://[A-Za-z0-9._-]{3,63}(/.*)?"                                    \
	"|gs://[A-Za-z0-9._-]{3,222}(/.*)?"                                    \
	"|hf://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(@[A-Za-z0-9._/-]+)?"            \
	"|https?://[!-.0-?A-~]+/[!-~]*[!-.0-~]"                                \
	"|file:///.+)$"

/* What else there is: a path, absolute or in the project. */
#define SOURCE_PATH_PATTERN "^(?!.*://)[^~]"

/* For people. */
#define SOURCE_WORDS                                                           \
	"a path inside the project, an absolute path or file://, or "          \
	"s3://BUCKET/KEY, gs://BUCKET/KEY, hf://ORG/NAME[@REVISION] or "       \
	"http(s)://HOST/FILE"

/* Of a URL that has a user in it, for people: it is not shown again. */
#define SOURCE_NO_USER                                                         \
	"a URL with a user or a password in it is not taken, for URLs are "    \
	"shown to whoever may see an api: give one that is signed in its "     \
	"query, or that needs neither"
bool source_has_user(const char *source);

/* As it may be seen: an address without its query, which may be a key to it.
 * mem_printf. */
char *source_shown(const char *source);

/* The part of a source behind file://, or the source where it is an absolute
 * path: it is used in place. NULL: it is not. */
static inline const char *source_in_place(const char *source)
{
	static const char head[] = "file://";
	size_t n = sizeof head - 1;

	for (size_t i = 0; i < n; i++)
		if (source[i] != head[i])
			return source[0] == '/' ? source : NULL;
	return source + n;
}

#endif
