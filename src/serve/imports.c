#include "serve/imports.h"

#include <ctype.h>

/* `import` is a keyword: outside of strings and comments it can only be the
 * statement, wherever it stands. So a lexer is enough. */

enum token {
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_DOT,
	TOKEN_COMMA,
	TOKEN_OTHER, /* the end of a line too */
};

struct lexer {
	const char *p, *end;
	struct str name; /* of the last TOKEN_NAME */
	enum token token;
};

static bool in_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

static bool at(const struct lexer *l, struct str s)
{
	return str_starts((struct str){l->p, (size_t)(l->end - l->p)}, s);
}

/* Behind a string that begins here; one in single quotes ends with its line at
 * the latest. */
static void skip_string(struct lexer *l)
{
	struct str quote = {l->p, 1};
	char three[3] = {*l->p, *l->p, *l->p};

	if (at(l, (struct str){three, 3}))
		quote.n = 3;
	l->p += quote.n;
	while (l->p < l->end && !at(l, quote)) {
		if (*l->p == '\n' && quote.n == 1)
			return;
		l->p += *l->p == '\\' && l->end - l->p > 1 ? 2 : 1;
	}
	if (l->p < l->end)
		l->p += quote.n;
}

/* Blanks, comments, and ends of lines that do not end the statement. */
static void skip_space(struct lexer *l)
{
	while (l->p < l->end) {
		if (*l->p == ' ' || *l->p == '\t' || *l->p == '\f')
			l->p++;
		else if (at(l, STR("\\\n")))
			l->p += 2;
		else if (at(l, STR("\\\r\n")))
			l->p += 3;
		else if (*l->p == '#')
			while (l->p < l->end && *l->p != '\n')
				l->p++;
		else
			return;
	}
}

static void next(struct lexer *l)
{
	skip_space(l);
	if (l->p >= l->end) {
		l->token = TOKEN_END;
		return;
	}
	if (in_name(*l->p)) {
		l->name = (struct str){l->p, 0};
		while (l->p < l->end && in_name(*l->p))
			l->p++;
		l->name.n = (size_t)(l->p - l->name.p);
		l->token = TOKEN_NAME;
		return;
	}
	l->token = *l->p == '.'	  ? TOKEN_DOT
		   : *l->p == ',' ? TOKEN_COMMA
				  : TOKEN_OTHER;
	if (*l->p == '"' || *l->p == '\'')
		skip_string(l);
	else
		l->p++;
}

static bool is_word(const struct lexer *l, struct str word)
{
	return l->token == TOKEN_NAME && str_eq(l->name, word);
}

/* "a.b.c" as one text; empty when no name is here. */
static struct str dotted(struct lexer *l)
{
	struct str module = {l->p, 0};

	if (l->token != TOKEN_NAME)
		return module;
	module.p = l->name.p;
	for (;;) {
		module.n = (size_t)(l->name.p + l->name.n - module.p);
		next(l);
		if (l->token != TOKEN_DOT)
			return module;
		next(l);
		if (l->token != TOKEN_NAME)
			return module;
	}
}

void imports_scan(struct str text, void (*found)(void *data, struct str module),
		  void *data)
{
	struct lexer l = {.p = text.p, .end = text.p + text.n};
	struct str module;

	if (at(&l, STR("\xef\xbb\xbf")))
		l.p += 3;
	next(&l);
	while (l.token != TOKEN_END) {
		if (is_word(&l, STR("from"))) {
			next(&l);
			module = dotted(&l);
			/* ".a" and "." are the project's own. */
			if (!module.n) {
				while (l.token == TOKEN_DOT)
					next(&l);
				if (!is_word(&l, STR("import")))
					dotted(&l);
			}
			/* Not of `yield from x` or `raise x from y`. */
			if (!is_word(&l, STR("import")))
				continue;
			if (module.n)
				found(data, module);
			next(&l);
		} else if (is_word(&l, STR("import"))) {
			do {
				next(&l);
				module = dotted(&l);
				if (module.n)
					found(data, module);
				if (is_word(&l, STR("as"))) {
					next(&l);
					next(&l);
				}
			} while (l.token == TOKEN_COMMA);
		} else {
			next(&l);
		}
	}
}
