#include "spec/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "core/mem.h"
#include "spec/tree.h"

/* Bytes of a user's text that a message repeats. */
enum { SHOWN_MAX = 60 };

static const char *format(struct reader *r, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

static const char *format(struct reader *r, const char *fmt, va_list args)
{
	va_list again;
	char *text;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	text = arena_zalloc(&r->set->arena, (size_t)MAX(n, 0) + 1);
	vsnprintf(text, (size_t)MAX(n, 0) + 1, fmt, args);
	return text;
}

bool problem_is_listed(const struct reader *r)
{
	return r->n_listed[PROBLEM_ERROR] < PROBLEMS_LISTED;
}

static void add(struct reader *r, struct problem p, const char *fmt,
		va_list args) __attribute__((format(printf, 3, 0)));

static void add(struct reader *r, struct problem p, const char *fmt,
		va_list args)
{
	struct spec_set *set = r->set;

	r->n_all[p.level]++;
	if (p.level == PROBLEM_ERROR)
		set->n_errors++;
	if (r->n_listed[p.level] == PROBLEMS_LISTED)
		return;
	r->n_listed[p.level]++;
	p.text = format(r, fmt, args);
	if (set->n_problems == r->room) {
		uint32_t room = r->room ? 2 * r->room : 16;
		struct problem *more =
			arena_alloc(&set->arena, room * sizeof *more);

		if (set->n_problems)
			memcpy(more, set->problems,
			       set->n_problems * sizeof *more);
		set->problems = more;
		r->room = room;
	}
	set->problems[set->n_problems++] = p;
}

void problem_error(struct reader *r, struct node *n, const char *key,
		   const char *fmt, ...)
{
	struct problem p = {.level = PROBLEM_ERROR, .api = r->api, .key = key};
	va_list args;

	if (n) {
		n->bad = true;
		p.line = n->line;
		p.column = n->column;
	}
	va_start(args, fmt);
	add(r, p, fmt, args);
	va_end(args);
}

void problem_warn(struct reader *r, const struct node *n, const char *key,
		  const char *fmt, ...)
{
	struct problem p = {
		.level = PROBLEM_WARNING, .api = r->api, .key = key};
	va_list args;

	if (n) {
		p.line = n->line;
		p.column = n->column;
	}
	va_start(args, fmt);
	add(r, p, fmt, args);
	va_end(args);
}

void problem_at(struct reader *r, uint32_t line, uint32_t column,
		const char *fmt, ...)
{
	struct problem p = {
		.level = PROBLEM_ERROR, .line = line, .column = column};
	va_list args;

	va_start(args, fmt);
	add(r, p, fmt, args);
	va_end(args);
}

/* Those without a place come last. */
static bool stands_before(const struct problem *a, const struct problem *b)
{
	if (a->line != b->line)
		return a->line && (!b->line || a->line < b->line);
	return a->column < b->column;
}

void problem_finish(struct reader *r)
{
	struct problem *p = r->set->problems;
	uint32_t listed = r->n_listed[0] + r->n_listed[1];
	uint32_t more = r->n_all[0] + r->n_all[1] - listed;

	/* Nearly sorted, and few: insertion keeps equals as they were found. */
	for (uint32_t i = 1; i < r->set->n_problems; i++) {
		struct problem one = p[i];
		uint32_t j = i;

		for (; j && stands_before(&one, &p[j - 1]); j--)
			p[j] = p[j - 1];
		p[j] = one;
	}
	if (!more)
		return;
	r->n_listed[0] = r->n_listed[1] = 0;
	r->api = NULL;
	problem_warn(r, NULL, NULL, "%u more problem%s not shown", more,
		     more == 1 ? " is" : "s are");
}

const char *problem_clean(struct reader *r, const char *text)
{
	char out[4 * SHOWN_MAX + 8];
	size_t n = 0, i;

	for (i = 0; text[i] && i < SHOWN_MAX; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\n')
			n += (size_t)sprintf(out + n, "\\n");
		else if (c == '\t')
			n += (size_t)sprintf(out + n, "\\t");
		else if (c < 0x20 || c == 0x7f)
			n += (size_t)sprintf(out + n, "\\x%02x", c);
		else if (c == 0xc2 &&
			 ((unsigned char)text[i + 1] & 0xe0) == 0x80)
			/* U+0080 to U+009F: terminals act on them */
			n += (size_t)sprintf(out + n, "\\x%02x",
					     (unsigned char)text[++i]);
		else
			out[n++] = (char)c;
	}
	/* Not through the middle of a character. */
	while (text[i] && ((unsigned char)text[i] & 0xc0) == 0x80 && n)
		i--, n--;
	out[n] = 0;
	return arena_printf(&r->set->arena, "%s%s", out, text[i] ? "..." : "");
}

const char *problem_quote(struct reader *r, const char *text)
{
	return arena_printf(&r->set->arena, "'%s'", problem_clean(r, text));
}

const char *spec_problem_line(struct spec_set *set, const char *file_name,
			      const struct problem *p)
{
	struct arena *a = &set->arena;
	const char *place = "";

	if (p->line && p->column)
		place = arena_printf(a, ":%u:%u", p->line, p->column);
	else if (p->line)
		place = arena_printf(a, ":%u", p->line);
	return arena_printf(a, "%s%s: %s%s%s%s%s", file_name, place,
			    p->api ? p->api : "", p->api ? ": " : "",
			    p->key ? p->key : "", p->key ? ": " : "", p->text);
}
