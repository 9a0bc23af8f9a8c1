/* Words for what a row of the table says; and the table for people. */
#include "spec/document.h"

#include <math.h>
#include <string.h>

#include "core/arena.h"
#include "core/mem.h"
#include "spec/rules.h"
#include "spec/value.h"

const char *document__words(struct arena *a, const struct key *k,
			    const char *between)
{
	const char *text = "";

	for (const char *p = k->words; *p;) {
		size_t n = strcspn(p, " ");
		char *word = arena_strndup(a, p, n);

		if (!key_refusal(k, word))
			text = arena_printf(a, "%s%s%s", text,
					    *text ? between : "", word);
		p += n + (p[n] == ' ');
	}
	return text;
}

const char *document__predictors(struct arena *a, const struct key *k)
{
	/* A handler has but one type that is served. */
	if (!k->predictors || strncmp(k->path, "handler", 7) == 0)
		return NULL;
	return rules_types(a, k->predictors);
}

/* How many there may be. */
static const char *counted(struct arena *a, const struct key *k,
			   const char *noun)
{
	if (!k->ranged)
		return noun;
	if (isinf(k->max))
		return arena_printf(a, "%s, at least %.0f", noun, k->min);
	if (k->min <= 0)
		return arena_printf(a, "%s, at most %.0f", noun, k->max);
	return arena_printf(a, "%s, %.0f to %.0f", noun, k->min, k->max);
}

static const char *ranged(struct arena *a, const struct key *k,
			  const char *noun)
{
	return arena_printf(a, "%s%s", noun, value_range_text(a, k));
}

const char *document_kind(struct arena *a, const struct key *k)
{
	switch (k->type) {
	case KEY_MAP:
		return k->words ? arena_printf(a, "map, or %s", k->words)
				: "map";
	case KEY_LIST:
		return counted(a, k, "list of maps");
	case KEY_STRINGS:
	case KEY_TOKENS:
		return counted(a, k, "list of texts");
	case KEY_ORIGINS:
		return counted(a, k, "list of origins");
	case KEY_PERCENTS:
		return counted(a, k, "list of percentages");
	case KEY_JSON:
		return "map of anything";
	case KEY_ANY:
		return "anything";
	case KEY_OPTIONS:
		return "map of texts, numbers and booleans";
	case KEY_ENV:
	case KEY_HEADERS:
		return "map of texts";
	case KEY_COMMAND:
		return "list of texts, or text";
	case KEY_NAME:
		return arena_printf(a, "name, at most %.0f characters", k->max);
	case KEY_ENDPOINT:
	case KEY_URL_PATH:
		return "URL path";
	case KEY_PROGRAM:
		return "path, absolute or in the project";
	case KEY_FILE:
		return "file of the project";
	case KEY_PY_FILE:
		return "file of the project, .py";
	case KEY_ENGINE:
		return arena_printf(a, "%s, or file of the project, .so",
				    document__words(a, k, ", "));
	case KEY_SOURCE:
		return "URL, or path, absolute or in the project";
	case KEY_DIR:
		return "directory of the project";
	case KEY_WORD:
	case KEY_CHOICE:
		return document__words(a, k, ", ");
	case KEY_INT:
		return ranged(a, k, "integer");
	case KEY_FLOAT:
		return ranged(a, k, "number");
	case KEY_BOOL:
		return "true, false";
	case KEY_DURATION:
		return ranged(a, k, "duration");
	case KEY_CPU:
		return ranged(a, k, "cores");
	case KEY_BYTES:
		return ranged(a, k, "size");
	case KEY_SHARE:
		return k->words ? "count, percentage or auto"
				: "count or percentage";
	case KEY_STRING:
		break;
	}
	return "text";
}

/* Text of a cell: '|' would end it. */
static void cell(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|' || *text == '<')
			buf_addc(out, '\\');
		buf_addc(out, *text);
	}
}

static void add_meaning(struct arena *a, struct buf *out, const struct key *k)
{
	const char *predictors = document__predictors(a, k);

	cell(out, k->text);
	if (predictors)
		buf_addf(out, " For type %s.", predictors);
	if (k->why) {
		buf_adds(out,
			 k->acts == WARNS ? " *Warned of:* " : " *Refused:* ");
		cell(out, k->why);
		buf_addc(out, '.');
	}
}

static void add_default(struct buf *out, const struct key *k)
{
	if (k->required)
		buf_adds(out, "required");
	else if (k->def_shown)
		cell(out, k->def_shown);
	else if (k->def)
		buf_addf(out, "`%s`", k->def);
}

static void add_row(struct arena *a, struct buf *out, const struct key *k)
{
	static const char *const acts[] = {
		[WORKS] = "works", [WARNS] = "warns", [REFUSED] = "refused"};

	buf_addf(out, "| `%s` | ", k->path);
	cell(out, document_kind(a, k));
	buf_adds(out, " | ");
	add_default(out, k);
	buf_addf(out, " | %s | %s | ",
		 strcmp(k->versions, "soma") == 0 ? "–" : k->versions,
		 acts[k->acts]);
	add_meaning(a, out, k);
	buf_adds(out, " |\n");
}

/* "api" for keys of the api itself that are no map. */
static const char *part_of(struct arena *a, const struct key *k)
{
	size_t n = strcspn(k->path, ".[");

	return k->path[n] || k->type == KEY_MAP || k->type == KEY_LIST
		       ? arena_strndup(a, k->path, n)
		       : "api";
}

/* Whether an earlier row has the same part. */
static bool is_again(struct arena *a, size_t at, const char *part)
{
	for (size_t i = 0; i < at; i++)
		if (strcmp(part_of(a, key_at(i)), part) == 0)
			return true;
	return false;
}

void document_tables(struct buf *out)
{
	const struct key *first, *k;
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; (first = key_at(i)); i++) {
		const char *part = part_of(&a, first);

		if (is_again(&a, i, part))
			continue;
		buf_addf(out,
			 "<!-- keys: %s -->\n"
			 "| key | value | default | Cortex | here | meaning "
			 "|\n|---|---|---|---|---|---|\n",
			 part);
		for (size_t j = i; (k = key_at(j)); j++)
			if (strcmp(part_of(&a, k), part) == 0)
				add_row(&a, out, k);
		buf_addc(out, '\n');
	}
	arena_fini(&a);
}
