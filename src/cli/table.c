#include "cli/term.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

enum { GAP = 3, GAP_NARROW = 2, TABLE_BYTES_MAX = 16 << 20 };

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

/* "-" and nothing say nothing. */
static bool is_shown(const struct table *t, size_t column)
{
	if (!(t->optional >> column & 1))
		return true;
	for (size_t i = column + t->n_columns; i < t->n_cells;
	     i += t->n_columns)
		if (*t->cells[i] && strcmp(t->cells[i], "-") != 0)
			return true;
	return false;
}

static size_t table_width(const struct table *t, size_t gap)
{
	size_t sum = 0;

	for (size_t i = 0; i < t->n_columns; i++)
		if (is_shown(t, i))
			sum += (sum ? gap : 0) + column_width(t, i);
	return sum;
}

/* Cells behind the last row's end are empty. */
static void render_row(const struct table *t, size_t row, size_t gap,
		       struct buf *out)
{
	size_t pad = 0;

	for (size_t i = 0; i < t->n_columns; i++) {
		size_t at = row + i;
		const char *cell = at < t->n_cells ? t->cells[at] : "";

		if (!is_shown(t, i) || !*cell) {
			pad += is_shown(t, i) ? column_width(t, i) + gap : 0;
			continue;
		}
		for (; pad > 0; pad--)
			buf_addc(out, ' ');
		buf_adds(out, cell);
		pad = column_width(t, i) + gap - term_columns(cell);
	}
}

void table_render(const struct table *t, bool bold, size_t width,
		  struct buf *out)
{
	size_t gap = table_width(t, GAP) > width ? GAP_NARROW : GAP;

	for (size_t row = 0; row < t->n_cells; row += t->n_columns) {
		if (bold && row == 0)
			buf_adds(out, "\033[1m");
		render_row(t, row, gap, out);
		if (bold && row == 0)
			buf_adds(out, "\033[0m");
		buf_addc(out, '\n');
	}
}

void table_print(const struct table *t)
{
	struct buf out;

	buf_init(&out, TABLE_BYTES_MAX);
	table_render(t, term_colours(1), term_width(), &out);
	fwrite(out.data, 1, out.len, stdout);
	buf_fini(&out);
}
