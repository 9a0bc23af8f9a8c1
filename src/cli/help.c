#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/pages.h"
#include "cli/term.h"
#include "core/mem.h"

enum {
	HELP_BYTES_MAX = 1 << 20,
	WIDTH_MIN = 40,
	WIDTH_MAX = 80,
	FLAG_COLUMN = 32, /* where the text of a flag begins */
	NAME_COLUMN = 14, /* of a command, a variable */
};

static void spaces(struct buf *out, size_t n)
{
	while (n-- > 0)
		buf_addc(out, ' ');
}

/* One paragraph, up to `end`. */
static void wrap_words(struct buf *out, const char *p, const char *end,
		       size_t indent, size_t width)
{
	size_t column = indent;
	bool first = true;

	while (p < end) {
		size_t n = strcspn(p, " \n"), shown;
		cleanup_free char *word = NULL;

		n = MIN(n, (size_t)(end - p));
		word = mem_strndup(p, n);
		shown = term_columns(word);
		p += n;
		while (p < end && (*p == ' ' || *p == '\n'))
			p++;
		if (!first && column + 1 + shown > width) {
			buf_addc(out, '\n');
			spaces(out, indent);
			column = indent;
			first = true;
		}
		if (!first)
			buf_addc(out, ' ');
		buf_adds(out, word);
		column += shown + !first;
		first = false;
	}
}

void help_wrap(struct buf *out, const char *text, size_t indent, size_t width)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");

		if (!end)
			end = text + strlen(text);
		if (*text == ' ')
			buf_add(out, text, (size_t)(end - text));
		else
			wrap_words(out, text, end, indent, width);
		text = end;
		if (*text) {
			buf_adds(out, "\n\n");
			spaces(out, indent);
			text += 2;
		}
	}
}

/* Two columns: left at 2, text from `at` on. */
static void add_row(struct buf *out, const char *left, const char *text,
		    size_t at, size_t width)
{
	size_t used = 2 + term_columns(left);

	spaces(out, 2);
	buf_adds(out, left);
	if (used + 2 > at) {
		buf_addc(out, '\n');
		used = 0;
	}
	spaces(out, at - used);
	help_wrap(out, text, at, width);
	buf_addc(out, '\n');
}

static void add_flag(struct buf *out, const struct flag *f, size_t width)
{
	char left[96], letter[8] = "    ";

	if (f->letter)
		snprintf(letter, sizeof letter, "-%c, ", f->letter);
	snprintf(left, sizeof left, "%s--%s%s%s", letter, f->name,
		 f->value ? " " : "", f->value ? f->value : "");
	add_row(out, left, f->text, FLAG_COLUMN, width);
}

size_t help_width(size_t columns)
{
	return MIN(MAX(columns, WIDTH_MIN), WIDTH_MAX);
}

void help_of(const struct command *c, struct buf *out, size_t width)
{
	const struct flag *f;

	width = help_width(width);
	buf_addf(out, "usage: soma %s%s%s [flags]\n\n", c->name,
		 *c->words ? " " : "", c->words);
	help_wrap(out, c->help, 0, width);
	buf_adds(out, "\n\nflags:\n");
	for (size_t i = 0; (f = args_flag(c->flags, i)); i++)
		if (f->text)
			add_flag(out, f, width);
}

static void add_meanings(struct buf *out, const struct meaning *m, size_t at,
			 size_t width)
{
	for (; m->word; m++)
		add_row(out, m->word, m->text, at, width);
}

void help_of_all(struct buf *out, size_t width)
{
	const struct command *c;

	width = help_width(width);
	buf_adds(out, "Soma makes a model an HTTP API.\n\n"
		      "usage: soma COMMAND [arguments] [flags]\n\ncommands:\n");
	for (size_t i = 0; (c = command_at(i)); i++)
		add_row(out, c->name, c->summary, NAME_COLUMN, width);
	buf_adds(out, "\nenvironment:\n");
	add_meanings(out, cli_environment, NAME_COLUMN, width);
	buf_adds(out, "\nexit codes:\n");
	add_meanings(out, cli_exits, 5, width);
	buf_adds(out, "\n'soma COMMAND --help' tells more.\n");
}

int help_unknown(const char *name)
{
	const char *near = command_near(name);

	if (near)
		return term_fail(CLI_USAGE,
				 "soma has no command '%s'; did you mean "
				 "'soma %s'?",
				 name, near);
	return term_fail(CLI_USAGE,
			 "soma has no command '%s'; 'soma help' lists them",
			 name);
}

int help_show(const struct command *c)
{
	struct buf out;

	buf_init(&out, HELP_BYTES_MAX);
	if (c)
		help_of(c, &out, term_width());
	else
		help_of_all(&out, term_width());
	fwrite(out.data, 1, out.len, stdout);
	buf_fini(&out);
	return CLI_OK;
}

/* For scripts/pages and the build: not in help itself. */
static int print_page(const char *name)
{
	static const struct {
		const char *name;
		void (*make)(struct buf *out);
	} pages[] = {{"cli", page_cli},
		     {"errors", page_errors},
		     {"man", page_man},
		     {"man-keys", page_man_keys}};
	struct buf out;

	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (strcmp(pages[i].name, name) != 0)
			continue;
		buf_init(&out, HELP_BYTES_MAX);
		pages[i].make(&out);
		fwrite(out.data, 1, out.len, stdout);
		buf_fini(&out);
		return CLI_OK;
	}
	return term_fail(CLI_USAGE,
			 "--page is 'cli', 'errors', 'man' or 'man-keys'");
}

int cmd_help(const struct args *a)
{
	const char *name = args_word(a, 0);
	const char *page = args_value(a, "page");
	const struct command *c = name ? command_find(name) : NULL;

	if (page)
		return print_page(page);
	return name && !c ? help_unknown(name) : help_show(c);
}
