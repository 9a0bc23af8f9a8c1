#include "cli/term.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

enum { GAP = 3, TABLE_BYTES_MAX = 16 << 20 };

static void add(struct table *t, char *cell)
{
	t->cells = mem_grow(t->cells, (t->n_cells + 1) * sizeof *t->cells);
	t->cells[t->n_cells++] = cell;
}

void table_init(struct table *t, size_t n_columns, const char *const *header)
{
	*t = (struct table){.n_columns = n_columns};
	for (size_t i = 0; i < n_columns; i++)
		add(t, mem_strdup(header[i]));
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (struct table){0};
}

void table_cell(struct table *t, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	add(t, text);
}

static size_t column_width(const struct table *t, size_t column)
{
	size_t most = 0;

	for (size_t i = column; i < t->n_cells; i += t->n_columns)
		most = MAX(most, term_columns(t->cells[i]));
	return most;
}

void table_render(const struct table *t, bool bold, struct buf *out)
{
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t column = i % t->n_columns;
		bool last = column == t->n_columns - 1 || i == t->n_cells - 1;
		size_t pad = column_width(t, column) + GAP -
			     term_columns(t->cells[i]);

		if (bold && i == 0)
			buf_adds(out, "\033[1m");
		buf_adds(out, t->cells[i]);
		if (bold && i == t->n_columns - 1)
			buf_adds(out, "\033[0m");
		for (; !last && pad > 0; pad--)
			buf_addc(out, ' ');
		if (last)
			buf_addc(out, '\n');
	}
}

void table_print(const struct table *t)
{
	struct buf out;

	buf_init(&out, TABLE_BYTES_MAX);
	table_render(t, term_colours(1), &out);
	fwrite(out.data, 1, out.len, stdout);
	buf_fini(&out);
}
