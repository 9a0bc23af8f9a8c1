#include "fetch/xml.h"

#include <stdint.h>
#include <string.h>

#include "core/mem.h"

void xml_init(struct xml *x, const char *text, size_t len, struct arena *arena)
{
	*x = (struct xml){.p = text, .end = text + len, .arena = arena};
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		x->p += 3;
}

static bool starts(const struct xml *x, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(x->end - x->p) >= n && memcmp(x->p, word, n) == 0;
}

/* Behind the next `word`; false where there is none. */
static bool skip_past(struct xml *x, const char *word)
{
	const char *at =
		memmem(x->p, (size_t)(x->end - x->p), word, strlen(word));

	if (!at)
		return false;
	x->p = at + strlen(word);
	return true;
}

static size_t put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 63));
		out[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 63));
	out[2] = (char)(0x80 | (c >> 6 & 63));
	out[3] = (char)(0x80 | (c & 63));
	return 4;
}

/* "#10", "#x41": what is between & and ;. 0: not allowed. */
static uint32_t code_point(struct str e)
{
	unsigned base = e.n > 1 && e.p[1] == 'x' ? 16 : 10;
	size_t i = base == 16 ? 2 : 1;
	uint32_t c = 0;

	if (i >= e.n)
		return 0;
	for (; i < e.n; i++) {
		char d = e.p[i];
		unsigned v = 99;

		if (d >= '0' && d <= '9')
			v = (unsigned)(d - '0');
		else if (d >= 'a' && d <= 'f')
			v = (unsigned)(d - 'a') + 10;
		else if (d >= 'A' && d <= 'F')
			v = (unsigned)(d - 'A') + 10;
		if (v >= base)
			return 0;
		c = c * base + v;
		if (c > 0x10ffff)
			return 0;
	}
	return c >= 0xd800 && c <= 0xdfff ? 0 : c;
}

static size_t put_entity(char *out, struct str e)
{
	static const struct {
		struct str name;
		char c;
	} known[] = {{{"amp", 3}, '&'},
		     {{"lt", 2}, '<'},
		     {{"gt", 2}, '>'},
		     {{"quot", 4}, '"'},
		     {{"apos", 4}, '\''}};
	uint32_t c;

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(e, known[i].name)) {
			*out = known[i].c;
			return 1;
		}
	if (e.n == 0 || e.p[0] != '#')
		return 0;
	c = code_point(e);
	return c ? put_utf8(out, c) : 0;
}

/* What stands for itself is never shorter than what an entity stands for. */
static bool undo_entities(struct xml *x, struct str raw, struct str *ret)
{
	char *out = arena_alloc(x->arena, raw.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < raw.n; i++) {
		const char *semicolon;
		struct str e;
		size_t put;

		if (raw.p[i] != '&') {
			if (raw.p[i] == '\0')
				return false;
			out[n++] = raw.p[i];
			continue;
		}
		e.p = raw.p + i + 1;
		semicolon = memchr(e.p, ';', raw.n - i - 1);
		if (!semicolon)
			return false;
		e.n = (size_t)(semicolon - e.p);
		put = put_entity(out + n, e);
		if (put == 0)
			return false;
		n += put;
		i += e.n + 1;
	}
	out[n] = '\0';
	*ret = (struct str){out, n};
	return true;
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' ||
	       c == ':';
}

/* The name at p, without what is before a colon. */
static struct str take_name(struct xml *x)
{
	struct str name = {x->p, 0};
	const char *colon;

	while (x->p < x->end && is_name(*x->p))
		x->p++;
	name.n = (size_t)(x->p - name.p);
	colon = memchr(name.p, ':', name.n);
	if (colon) {
		name.n -= (size_t)(colon + 1 - name.p);
		name.p = colon + 1;
	}
	return name;
}

/* Over attributes, to behind the '>'. */
static bool end_tag(struct xml *x)
{
	while (x->p < x->end) {
		char c = *x->p++;

		if (c == '"' || c == '\'') {
			const char *close =
				memchr(x->p, c, (size_t)(x->end - x->p));

			if (!close)
				return false;
			x->p = close + 1;
		} else if (c == '>') {
			return true;
		} else if (c == '/' && x->p < x->end && *x->p == '>') {
			x->closing = true;
		} else if (c == '<') {
			return false;
		}
	}
	return false;
}

static enum xml_kind tag(struct xml *x, struct str *ret)
{
	bool close;

	x->p++; /* '<' */
	close = x->p < x->end && *x->p == '/';
	if (close)
		x->p++;
	x->name = take_name(x);
	if (x->name.n == 0 || !end_tag(x) || (close && x->closing))
		return XML_BAD;
	*ret = x->name;
	return close ? XML_CLOSE : XML_OPEN;
}

enum xml_kind xml_next(struct xml *x, struct str *ret)
{
	if (x->closing) {
		x->closing = false;
		*ret = x->name;
		return XML_CLOSE;
	}
	while (x->p < x->end) {
		struct str raw = {x->p, 0};
		const char *next;

		if (starts(x, "<?")) {
			if (!skip_past(x, "?>"))
				return XML_BAD;
			continue;
		}
		if (starts(x, "<!--")) {
			if (!skip_past(x, "-->"))
				return XML_BAD;
			continue;
		}
		if (*x->p == '<')
			return tag(x, ret);
		next = memchr(x->p, '<', (size_t)(x->end - x->p));
		x->p = next ? next : x->end;
		raw.n = (size_t)(x->p - raw.p);
		for (size_t i = 0; i < raw.n; i++)
			if (!strchr(" \t\r\n", raw.p[i]) || raw.p[i] == '\0')
				return undo_entities(x, raw, ret) ? XML_TEXT
								  : XML_BAD;
	}
	return XML_END;
}
