/* The manual in man's macros. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/pages.h"
#include "core/arena.h"
#include "core/mem.h"
#include "spec/document.h"

enum { WIDTH = 72, TEXT_BYTES_MAX = 1 << 20, KEPT_INDENT = 2 };

/* A character of text or code. At a line's beginning '.' and '\'' would be
 * macros: no word begins with them bare. */
static void add_char(struct buf *out, const char *text, const char *p)
{
	bool first = p == text || strchr(" \n", p[-1]);

	if (*p == '\\')
		buf_adds(out, "\\e");
	else if (*p == '-')
		buf_adds(out, "\\-");
	else if (*p == '\'')
		buf_adds(out, "\\(aq");
	else if (*p == '.' && first)
		buf_adds(out, "\\&.");
	else
		buf_addc(out, *p);
}

/* Capitals are what something stands for: italic, as manuals have it. */
static void add_usage(struct buf *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		bool begins = isupper((unsigned char)*p) &&
			      (p == text || !isalnum((unsigned char)p[-1]));
		size_t n = begins ? strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") : 0;

		if (n == 0) {
			add_char(out, text, p);
			continue;
		}
		buf_addf(out, "\\fI%.*s\\fR", (int)n, p);
		p += n - 1;
	}
}

static void add_text(struct buf *out, const char *text, size_t len)
{
	const char *end = text + len;

	for (const char *p = text; p < end; p++) {
		const char *code = *p == '\'' ? page_code_end(text, p) : NULL;

		if (!code || code >= end) {
			add_char(out, text, p);
			continue;
		}
		buf_adds(out, "\\fB");
		for (p++; p < code; p++)
			add_char(out, text, p);
		buf_adds(out, "\\fR");
	}
}

static void add_paragraph(struct buf *out, const char *text, size_t len)
{
	struct buf roff;

	buf_init(&roff, TEXT_BYTES_MAX);
	add_text(&roff, text, len);
	help_wrap(out, buf_cstr(&roff), 0, WIDTH);
	buf_addc(out, '\n');
	buf_fini(&roff);
}

/* Lines as they are. */
static void add_kept(struct buf *out, const char *text, size_t len)
{
	const char *end = text + len;

	buf_adds(out, ".RS 4\n.nf\n");
	while (text < end) {
		size_t n = strcspn(text, "\n");
		size_t skip = MIN(strspn(text, " "), KEPT_INDENT);

		n = MIN(n, (size_t)(end - text));
		add_text(out, text + skip, n - skip);
		buf_addc(out, '\n');
		text += n + 1;
	}
	buf_adds(out, ".fi\n.RE\n");
}

/* The first stands behind a heading, the others apart. */
static void add_paragraphs(struct buf *out, const char *text)
{
	while (*text) {
		const char *gap = strstr(text, "\n\n");
		size_t len = gap ? (size_t)(gap - text) : strlen(text);

		if (*text == ' ')
			add_kept(out, text, len);
		else
			add_paragraph(out, text, len);
		text += len;
		if (*text) {
			text += 2;
			if (*text != ' ')
				buf_adds(out, ".PP\n");
		}
	}
}

static void add_tagged(struct buf *out, const char *word, const char *text)
{
	buf_adds(out, ".TP\n\\fB");
	add_text(out, word, strlen(word));
	buf_adds(out, "\\fR\n");
	add_paragraph(out, text, strlen(text));
}

static void add_flag(struct buf *out, const struct flag *f)
{
	buf_adds(out, ".TP\n");
	if (f->letter)
		buf_addf(out, "\\fB\\-%c\\fR, ", f->letter);
	buf_adds(out, "\\fB\\-\\-");
	add_text(out, f->name, strlen(f->name));
	buf_adds(out, "\\fR");
	if (f->value) {
		buf_addc(out, ' ');
		add_usage(out, f->value);
	}
	buf_addc(out, '\n');
	add_paragraph(out, f->text, strlen(f->text));
}

static void add_command(struct buf *out, const struct command *c)
{
	const struct flag *f;

	buf_addf(out, ".SS soma %s ", c->name);
	add_usage(out, c->words);
	buf_adds(out, *c->words ? " [flags]\n" : "[flags]\n");
	add_paragraphs(out, c->help);
	if (c->notes) {
		buf_adds(out, ".PP\n");
		add_paragraphs(out, c->notes);
	}
	for (size_t i = 0; (f = args_flag(c->flags, i)); i++)
		if (f->text)
			add_flag(out, f);
}

static void add_heading(struct buf *out, const char *title)
{
	buf_adds(out, ".SH \"");
	for (; *title; title++)
		buf_addc(out, (char)toupper((unsigned char)*title));
	buf_adds(out, "\"\n");
}

void page_man(struct buf *out)
{
	const struct command *c;

	buf_adds(out,
		 ".TH SOMA 1 \"\" \"soma " SOMA_VERSION "\" \"User Commands\"\n"
		 ".SH NAME\nsoma \\- make a model an HTTP API\n"
		 ".SH SYNOPSIS\n\\fBsoma\\fR \\fICOMMAND\\fR [arguments] "
		 "[flags]\n.SH DESCRIPTION\n");
	add_paragraphs(out,
		       "Soma makes a model an HTTP API: a Python class, an "
		       ".onnx file, or any program that serves HTTP. 'soma "
		       "serve' runs the daemon on a machine, 'soma deploy' "
		       "gives it a folder with a soma.yaml. Every command but "
		       "a few talks to a running daemon.\n\n"
		       "'soma help' lists the commands, 'soma COMMAND --help' "
		       "tells one.");
	add_heading(out, "commands");
	for (size_t i = 0; (c = command_at(i)); i++)
		add_command(out, c);
	for (const struct topic *t = page_topics; t->title; t++) {
		add_heading(out, t->title);
		add_paragraphs(out, t->text);
	}
	add_heading(out, "environment");
	for (const struct meaning *m = cli_environment; m->word; m++)
		add_tagged(out, m->word, m->text);
	add_heading(out, "exit status");
	for (const struct meaning *m = cli_exits; m->word; m++)
		add_tagged(out, m->word, m->text);
	add_heading(out, "see also");
	buf_adds(out, ".BR soma.yaml (5)\n");
}

/* "text, or null; required" behind the key, and what it does or why not. */
static void add_key(struct buf *out, struct arena *a, const struct key *k)
{
	const char *def = k->def ? k->def : k->def_shown;
	const char *text = k->acts == WORKS ? k->text : k->why;
	cleanup_free char *head = mem_printf("%s%s%s%s", document_kind(a, k),
					     k->null_ok ? ", or null" : "",
					     k->required ? "; required"
					     : def	 ? "; default: "
							 : "",
					     !k->required && def ? def : "");

	buf_adds(out, ".TP\n\\fB");
	add_text(out, k->path, strlen(k->path));
	buf_adds(out, "\\fR \\- ");
	add_text(out, head, strlen(head));
	buf_addc(out, '\n');
	add_paragraph(out, text, strlen(text));
}

static void add_keys(struct buf *out, const char *title, enum key_acts acts)
{
	const struct key *k;
	struct arena a;

	arena_init(&a);
	add_heading(out, title);
	for (size_t i = 0; (k = key_at(i)); i++)
		if (k->acts == acts && k->kinds & KIND_REALTIME)
			add_key(out, &a, k);
	arena_fini(&a);
}

void page_man_keys(struct buf *out)
{
	buf_adds(out, ".TH SOMA.YAML 5 \"\" \"soma " SOMA_VERSION
		      "\" \"File Formats\"\n"
		      ".SH NAME\nsoma.yaml \\- what the apis of a project are\n"
		      ".SH DESCRIPTION\n");
	add_paragraphs(
		out,
		"'soma deploy' reads soma.yaml, or cortex.yaml: one api, or a "
		"list of them. Each has a name and says what its replicas run; "
		"everything else has a default. Keys in keys are written with "
		"a dot here, entries of lists with '[]'. Paths are relative to "
		"the file.\n\n"
		"  - name: iris\n"
		"    predictor: {type: python, path: predictor.py}\n\n"
		"Every problem of a file is told at once, with line and "
		"remedy, and nothing is deployed then.");
	add_keys(out, "keys", WORKS);
	add_keys(out, "keys without effect yet", WARNS);
	add_keys(out, "keys that are refused", REFUSED);
	add_heading(out, "see also");
	buf_adds(out, ".BR soma (1)\n");
}
