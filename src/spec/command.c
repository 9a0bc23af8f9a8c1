/*
 * predictor.command: a list of arguments, or one text split like a shell's:
 * blanks and line ends part words; 'x' is x as it is; in "x" a backslash
 * takes the special meaning off " \ $ and `; outside of quotes off anything.
 * Nothing is filled in here: $PORT, ${PORT} and $(CORTEX_PORT) are left to
 * who starts the replica, all else of a shell is a problem or plain text.
 */
#include <ctype.h>
#include <string.h>

#include "core/buf.h"
#include "core/mem.h"
#include "spec/value.h"

enum { ARGS_MAX = 1000, ARG_LEN_MAX = 128 * 1024 - 1 };

#define SHELL_REMEDY "write [sh, -c, '...'] if you need a shell"

struct words {
	struct reader *r;
	const struct key *k;
	struct node *n;
	struct spec *spec;
	struct buf word;
	bool quoted; /* some of the word */
};

/* False: the problem is reported. */
static bool add_arg(struct words *w, struct node *at, const char *text)
{
	if (w->spec->predictor.n_command == ARGS_MAX) {
		problem_error(w->r, at, w->k->path, "more than 1000 arguments");
		return false;
	}
	if (strlen(text) > ARG_LEN_MAX) {
		problem_error(w->r, at, w->k->path,
			      "an argument is longer than 128 KiB");
		return false;
	}
	w->spec->predictor.command[w->spec->predictor.n_command++] = text;
	return true;
}

static bool is_assignment(const char *word)
{
	const char *s = word;

	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	return *s == '=' && s > word && !isdigit((unsigned char)*word);
}

/* What a shell would act upon, and a program would only be given. */
static bool is_shell(const char *word)
{
	static const char *const ops[] = {"&&", "||", "|", ";",	 "&",
					  ">",	">>", "<", "<<", "2>&1"};
	size_t n = strlen(word);

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		if (strcmp(word, ops[i]) == 0)
			return true;
	return n > 1 && word[n - 1] == ';';
}

static bool end_word(struct words *w)
{
	const char *word = arena_strndup(&w->r->set->arena, buf_cstr(&w->word),
					 w->word.len);
	bool first = !w->spec->predictor.n_command;

	buf_reset(&w->word);
	if (!w->quoted && is_shell(word)) {
		problem_error(w->r, w->n, w->k->path,
			      "no shell runs the command, so %s would only be "
			      "an argument; " SHELL_REMEDY,
			      problem_quote(w->r, word));
		return false;
	}
	if (!w->quoted && first && is_assignment(word)) {
		problem_error(w->r, w->n, w->k->path,
			      "no shell runs the command, so %s would be the "
			      "program; set the variable in predictor.env",
			      problem_quote(w->r, word));
		return false;
	}
	w->quoted = false;
	return add_arg(w, w->n, word);
}

/* From behind the opening quote to behind the closing one; NULL: no such. */
static const char *take_quoted(struct words *w, const char *s, char quote)
{
	w->quoted = true;
	for (; *s && *s != quote; s++) {
		if (quote == '"' && *s == '\\' && s[1] &&
		    strchr("\"\\$`", s[1]))
			s++;
		buf_addc(&w->word, *s);
	}
	return *s ? s + 1 : NULL;
}

static const char *take_word(struct words *w, const char *s)
{
	while (s && *s && !isspace((unsigned char)*s)) {
		if (*s == '\'' || *s == '"') {
			s = take_quoted(w, s + 1, *s);
			continue;
		}
		if (*s == '\\' && s[1]) {
			w->quoted = true;
			s++;
		}
		buf_addc(&w->word, *s++);
	}
	return s;
}

static void split(struct words *w)
{
	const char *s = w->n->text;

	for (;;) {
		while (isspace((unsigned char)*s))
			s++;
		if (!*s)
			return;
		s = take_word(w, s);
		if (!s) {
			problem_error(w->r, w->n, w->k->path,
				      "quote is not closed in %s",
				      problem_quote(w->r, w->n->text));
			return;
		}
		if (!end_word(w))
			return;
	}
}

static void read_list(struct words *w)
{
	for (uint32_t i = 0; i < w->n->n; i++) {
		struct node *item = w->n->items[i];

		if (item->bad)
			continue;
		if (item->type != NODE_SCALAR || node_is_null(item))
			problem_error(w->r, item,
				      arena_printf(&w->r->set->arena, "%s[%u]",
						   w->k->path, i),
				      "expected a text, found %s",
				      node_shown(w->r, item));
		else if (!add_arg(w, item, item->text))
			return;
	}
}

void value_read_command(struct reader *r, const struct key *k, struct node *n,
			struct spec *spec)
{
	struct words w = {.r = r, .k = k, .n = n, .spec = spec};
	size_t most = n->type == NODE_LIST ? n->n : n->len / 2 + 1;
	double number;
	bool flag;
	bool given = (n->type == NODE_SCALAR && !node_is_null(n) &&
		      !node_float(n, &number) && !node_bool(n, &flag)) ||
		     (n->type == NODE_LIST && n->n);

	if (!given) {
		value_unexpected(r, k, n,
				 "a command such as [uvicorn, main:app, "
				 "--port, $PORT]");
		return;
	}
	buf_init(&w.word, SPEC_MAX_BYTES + 1);
	spec->predictor.command = arena_zalloc(
		&r->set->arena,
		MIN(most, ARGS_MAX) * sizeof *spec->predictor.command);
	if (n->type == NODE_LIST)
		read_list(&w);
	else
		split(&w);
	buf_fini(&w.word);
	if (!n->bad &&
	    (!spec->predictor.n_command || !*spec->predictor.command[0]))
		problem_error(r, n, k->path, "there is no program in it");
}
