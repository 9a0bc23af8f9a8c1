#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/pages.h"
#include "core/mem.h"

enum { WIDTH = 120, TEXT_BYTES_MAX = 1 << 20, KEPT_INDENT = 2 };

/* '_' inside a word is none of Markdown's. */
static bool needs_escape(const char *text, const char *p)
{
	if (*p == '_')
		return p == text || !isalnum((unsigned char)p[-1]) ||
		       !isalnum((unsigned char)p[1]);
	return strchr("*<`", *p) != NULL;
}

/* Text of one paragraph or table cell: code marked, the rest escaped. */
static void add_text(struct buf *out, const char *text, size_t len, bool cell)
{
	const char *end = text + len;

	for (const char *p = text; p < end; p++) {
		const char *code = *p == '\'' ? page_code_end(text, p) : NULL;

		if (code && code < end) {
			buf_addc(out, '`');
			for (p++; p < code; p++) {
				if (cell && *p == '|')
					buf_addc(out, '\\');
				buf_addc(out, *p);
			}
			buf_addc(out, '`');
			continue;
		}
		if (needs_escape(text, p) || (cell && *p == '|'))
			buf_addc(out, '\\');
		buf_addc(out, *p);
	}
}

static void add_cell(struct buf *out, const char *text)
{
	add_text(out, text, strlen(text), true);
}

/* "  1. one\n  2. two" is a list; anything else that is kept is code. */
static void add_kept(struct buf *out, const char *text, size_t len)
{
	bool list = strncmp(text, "  1. ", 5) == 0;
	const char *end = text + len;

	if (!list)
		buf_adds(out, "```\n");
	while (text < end) {
		size_t n = strcspn(text, "\n");
		size_t skip = MIN(strspn(text, " "), KEPT_INDENT);

		n = MIN(n, (size_t)(end - text));
		if (list)
			add_text(out, text + skip, n - skip, false);
		else
			buf_add(out, text + skip, n - skip);
		buf_addc(out, '\n');
		text += n + 1;
	}
	if (!list)
		buf_adds(out, "```\n");
}

static void add_paragraphs(struct buf *out, const char *text)
{
	while (*text) {
		const char *gap = strstr(text, "\n\n");
		size_t len = gap ? (size_t)(gap - text) : strlen(text);

		if (*text == ' ') {
			add_kept(out, text, len);
		} else {
			struct buf plain;

			buf_init(&plain, TEXT_BYTES_MAX);
			add_text(&plain, text, len, false);
			help_wrap(out, buf_cstr(&plain), 0, WIDTH);
			buf_addc(out, '\n');
			buf_fini(&plain);
		}
		buf_addc(out, '\n');
		text += len + (gap ? 2 : 0);
	}
}

static void add_flags(struct buf *out, const struct command *c)
{
	const struct flag *f;

	buf_adds(out, "| flag | what it does |\n|---|---|\n");
	for (size_t i = 0; (f = args_flag(c->flags, i)); i++) {
		if (!f->text)
			continue;
		buf_adds(out, "| `");
		if (f->letter)
			buf_addf(out, "-%c`, `", f->letter);
		buf_addf(out, "--%s", f->name);
		for (const char *p = f->value ? f->value : ""; *p; p++) {
			if (p == f->value)
				buf_addc(out, ' ');
			if (*p == '|')
				buf_addc(out, '\\');
			buf_addc(out, *p);
		}
		buf_adds(out, "` | ");
		add_cell(out, f->text);
		buf_adds(out, " |\n");
	}
	buf_addc(out, '\n');
}

static void add_command(struct buf *out, const struct command *c)
{
	buf_addf(out, "## soma %s\n\n    soma %s%s%s [flags]\n\n", c->name,
		 c->name, *c->words ? " " : "", c->words);
	add_paragraphs(out, c->help);
	if (c->notes)
		add_paragraphs(out, c->notes);
	add_flags(out, c);
}

static void add_meanings(struct buf *out, const char *head,
			 const struct meaning *m)
{
	buf_addf(out, "| %s | meaning |\n|---|---|\n", head);
	for (; m->word; m++) {
		buf_addf(out, "| `%s` | ", m->word);
		add_cell(out, m->text);
		buf_adds(out, " |\n");
	}
	buf_addc(out, '\n');
}

static void add_made(struct buf *out, const char *from)
{
	buf_addf(out,
		 "<!-- Made by scripts/pages of %s: change it there. -->\n\n",
		 from);
}

void page_cli(struct buf *out)
{
	const struct command *c;

	buf_adds(out, "# The command line\n\n");
	add_made(out, "the table in src/cli/commands.c");
	add_paragraphs(out, "'soma help' lists the commands, 'soma COMMAND "
			    "--help' tells one.");
	buf_adds(out, "| command | what it does |\n|---|---|\n");
	for (size_t i = 0; (c = command_at(i)); i++) {
		buf_addf(out, "| [`soma %s`](#soma-%s) | ", c->name, c->name);
		add_cell(out, c->summary);
		buf_adds(out, " |\n");
	}
	buf_addc(out, '\n');
	add_paragraphs(out, "More: the settings of a daemon in "
			    "[daemon.md](daemon.md), the config file in "
			    "[config.md](config.md), error codes in "
			    "[errors.md](errors.md), the HTTP API that the "
			    "commands use in [internals/admin-api.md]"
			    "(internals/admin-api.md).");
	for (const struct topic *t = page_topics; t->title; t++) {
		buf_addf(out, "## %s\n\n", t->title);
		add_paragraphs(out, t->text);
	}
	buf_adds(out, "## Environment\n\n");
	add_meanings(out, "variable", cli_environment);
	buf_adds(out, "## Exit codes\n\n");
	add_meanings(out, "code", cli_exits);
	for (size_t i = 0; (c = command_at(i)); i++)
		add_command(out, c);
	out->len--; /* the empty line behind the last */
}

void page_errors(struct buf *out)
{
	const struct err_row *e;

	buf_adds(out, "# Error codes\n\n");
	add_made(out, "the list in src/core/err.h");
	add_paragraphs(out,
		       "Whatever is refused, by an api or by the admin API, is "
		       "answered with JSON:");
	buf_adds(out,
		 "```\n{\"error\":{\"code\":\"not_found\",\"message\":\"there "
		 "is no api 'iirs'; did you mean 'iris'?\",\"request_id\":"
		 "\"...\"}}\n```\n\n");
	add_paragraphs(
		out,
		"'message' says what and where, and what to do where that is "
		"known. 'code' is for programs: it never changes. "
		"'request_id' finds the request in 'soma logs' and in the "
		"access log; 'api' and 'cause' are there where they are known. "
		"What an api's own program answers, errors too, is passed on "
		"as it is.\n\n"
		"The status is that of the table, or a more exact one: 408 for "
		"a request that came too slowly, 414 for a long request line, "
		"431 for large headers.");
	buf_adds(out, "| code | status | what it means | what to do |\n"
		      "|---|---|---|---|\n");
	for (size_t i = 0; (e = err_row_at(i)); i++) {
		buf_addf(out, "| `%s` | %d | ", e->word, e->http);
		add_cell(out, e->meaning);
		buf_adds(out, " | ");
		add_cell(out, e->remedy);
		buf_adds(out, " |\n");
	}
}
