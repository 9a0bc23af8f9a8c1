#include "cli/ignore.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/str.h"

void ignore_init(struct ignore *ig)
{
	*ig = (struct ignore){0};
}

void ignore_fini(struct ignore *ig)
{
	for (size_t i = 0; i < ig->n; i++)
		free(ig->rules[i].pattern);
	free(ig->rules);
	ignore_init(ig);
}

/* Spaces at the end go unless one is quoted: "name\ ". */
static size_t trimmed(const char *line, size_t len)
{
	while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' ||
			   line[len - 1] == '\r')) {
		if (len > 1 && line[len - 2] == '\\')
			break;
		len--;
	}
	return len;
}

static void add_line(struct ignore *ig, const char *line, size_t len)
{
	struct ignore_rule r = {0};

	len = trimmed(line, len);
	if (len == 0 || line[0] == '#')
		return;
	if (line[0] == '!') {
		r.keep = true;
		line++;
		len--;
	}
	if (len > 0 && line[len - 1] == '/') {
		r.dirs_only = true;
		len--;
	}
	r.whole = memchr(line, '/', len) != NULL;
	if (len > 0 && line[0] == '/') {
		line++;
		len--;
	}
	if (len == 0)
		return;
	r.pattern = mem_strndup(line, len);
	ig->rules = mem_grow(ig->rules, (ig->n + 1) * sizeof *ig->rules);
	ig->rules[ig->n++] = r;
}

void ignore_add(struct ignore *ig, const char *text, size_t len)
{
	if (str_starts((struct str){text, len}, STR("\xef\xbb\xbf"))) {
		text += 3;
		len -= 3;
	}
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		add_line(ig, text, n);
		n += end ? 1 : 0;
		text += n;
		len -= n;
	}
}

/* A set "[a-z]", "[!x]"; *pp stands on '[' and is moved behind ']'. A set
 * without end is the letter '['. */
static bool in_set(const char **pp, char c)
{
	const char *p = *pp + 1;
	bool not = *p == '!' || *p == '^', hit = false, first = true;

	if (not )
		p++;
	for (; *p && (first || *p != ']'); first = false) {
		unsigned char low, high;

		if (*p == '\\' && p[1])
			p++;
		low = high = (unsigned char)*p++;
		if (*p == '-' && p[1] && p[1] != ']') {
			p++;
			if (*p == '\\' && p[1])
				p++;
			high = (unsigned char)*p++;
		}
		hit |= low <= (unsigned char)c && (unsigned char)c <= high;
	}
	if (*p != ']') {
		++*pp;
		return c == '[';
	}
	*pp = p + 1;
	return c != '/' && hit != not ;
}

/* Steps over one character of the pattern (not '*') if it matches c. */
static bool match_one(const char **pp, char c)
{
	const char *p = *pp;

	switch (*p) {
	case '?':
		++*pp;
		return c != '/';
	case '[':
		return in_set(pp, c);
	case '\\':
		if (p[1])
			p++;
		*pp = p + 1;
		return *p == c;
	default:
		++*pp;
		return *p == c;
	}
}

/* "**" counts as such only between slashes or ends; else it is a '*'. */
static bool is_double(const char *pattern, const char *p)
{
	return p[0] == '*' && p[1] == '*' && (p == pattern || p[-1] == '/') &&
	       (p[2] == '/' || p[2] == '\0');
}

/* Where to go back to when what follows a star does not match: the nearest
 * star only is needed, and one double star above it, so time stays bounded. */
struct retry {
	const char *pattern; /* behind the star; NULL: none */
	const char *path;
};

bool ignore_glob(const char *pattern, const char *path)
{
	struct retry star = {0}, stars = {0};
	const char *p = pattern;

	for (;;) {
		const char *next = p;

		if (is_double(pattern, p)) {
			if (p[2] == '\0')
				return *path != '\0';
			p += 3;
			stars = (struct retry){p, path};
			star = (struct retry){0};
			continue;
		}
		if (*p == '*') {
			while (*p == '*')
				p++;
			star = (struct retry){p, path};
			continue;
		}
		if (*p == '\0' && *path == '\0')
			return true;
		if (*p != '\0' && *path != '\0' && match_one(&next, *path)) {
			p = next;
			path++;
			continue;
		}
		if (star.pattern && *star.path != '\0' && *star.path != '/') {
			path = ++star.path;
			p = star.pattern;
			continue;
		}
		/* One more directory for the double star. */
		if (stars.pattern) {
			const char *slash = strchr(stars.path, '/');

			if (slash) {
				path = stars.path = slash + 1;
				p = stars.pattern;
				star = (struct retry){0};
				continue;
			}
		}
		return false;
	}
}

bool ignore_match(const struct ignore *ig, const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	for (size_t i = ig->n; i-- > 0;) {
		const struct ignore_rule *r = &ig->rules[i];

		if (r->dirs_only && !is_dir)
			continue;
		if (ignore_glob(r->pattern, r->whole ? path : name))
			return !r->keep;
	}
	return false;
}
