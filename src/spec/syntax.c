#include "spec/syntax.h"

#include <string.h>

#include "core/mem.h"
#include "core/str.h"

/* libyaml names the grammar's rule; people want to know what to change. */
static const struct {
	const char *problem; /* libyaml's, or the beginning of it */
	const char *says;
	bool at_context; /* its beginning is the place to look at */
} wordings[] = {
	{"mapping values are not allowed",
	 "':' is not expected here: check the indentation, and quote a text "
	 "that has ': ' in it",
	 false},
	{"could not find expected ':'",
	 "expected 'key: value', but there is no ':' behind the key", true},
	{"did not find expected key",
	 "expected a key here: check the indentation of this line, and quotes "
	 "and brackets before it",
	 false},
	{"did not find expected '-' indicator",
	 "expected '- ' here: check the indentation of this line", false},
	{"block sequence entries are not allowed",
	 "'- ' is not expected here: check the indentation of this line",
	 false},
	{"did not find expected ',' or ']'",
	 "list is not closed: expected ',' or ']'", true},
	{"did not find expected ',' or '}'",
	 "map is not closed: expected ',' or '}'", true},
	{"found unexpected end of stream", "quote is not closed", true},
	{"found unexpected document indicator", "quote is not closed", true},
	{"found unknown escape character",
	 "unknown escape in a double-quoted text: put texts with backslashes "
	 "into single quotes",
	 false},
	{"found character that cannot start any token",
	 "a text cannot begin with this character: quote it", false},
	{"did not find expected <document start>",
	 "unexpected text: check the indentation of this line", false},
	{"did not find expected node content", "expected a value here", false},
	{"found undefined tag handle", "unknown tag: remove it", false},
	{"found a tab character",
	 "tab character used for indentation; use spaces", false},
};

/* Start of the line (from 0). */
static struct str line_of(const char *text, size_t len, size_t line)
{
	struct str s = {text, len};
	const char *end;

	while (line-- && (end = memchr(s.p, '\n', s.n))) {
		s.n -= (size_t)(end + 1 - s.p);
		s.p = end + 1;
	}
	end = memchr(s.p, '\n', s.n);
	if (end)
		s.n = (size_t)(end - s.p);
	return s;
}

/* libyaml stumbles behind the tab over something else, but a tab in front of
 * a line's text is the reason. Its column from 1, or 0. */
static uint32_t tab_in_indent(struct str line)
{
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] == '\t')
			return (uint32_t)i + 1;
		if (line.p[i] != ' ' && line.p[i] != '-')
			return 0;
	}
	return 0;
}

/* The reader gives only an offset, and that of the bad byte. */
static void unreadable(struct reader *r, const yaml_parser_t *parser,
		       const char *text, size_t len)
{
	size_t at = MIN(parser->problem_offset, len);
	uint32_t line = 1, column = 1;
	int byte = parser->problem_value;

	for (size_t i = 0; i < at; i++) {
		if (text[i] == '\n')
			line++, column = 1;
		else if (((unsigned char)text[i] & 0xc0) != 0x80)
			column++;
	}
	if (strstr(parser->problem, "control characters"))
		problem_at(r, line, column,
			   "control character 0x%02x is not allowed here",
			   (unsigned)byte);
	else
		problem_at(r, line, column,
			   "not UTF-8 text (byte 0x%02x): save the file as "
			   "UTF-8",
			   at < len ? (unsigned)(unsigned char)text[at] : 0);
}

void syntax_problem(struct reader *r, const yaml_parser_t *parser,
		    const char *text, size_t len)
{
	yaml_mark_t at = parser->problem_mark;
	const char *says = NULL;
	uint32_t tab;

	if (parser->error == YAML_MEMORY_ERROR)
		abort();
	if (parser->error == YAML_READER_ERROR) {
		unreadable(r, parser, text, len);
		return;
	}
	tab = tab_in_indent(line_of(text, len, at.line));
	if (tab) {
		problem_at(r, (uint32_t)at.line + 1, tab,
			   "tab character used for indentation; use spaces");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(wordings) && !says; i++)
		if (strncmp(parser->problem, wordings[i].problem,
			    strlen(wordings[i].problem)) == 0) {
			says = wordings[i].says;
			if (wordings[i].at_context && parser->context)
				at = parser->context_mark;
		}
	problem_at(r, (uint32_t)at.line + 1, (uint32_t)at.column + 1, "%s",
		   says ? says : parser->problem);
}
