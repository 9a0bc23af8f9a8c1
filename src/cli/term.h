/* term.h: what is printed: errors, colours, times, tables. */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/buf.h"

bool term_is_tty(int fd);
/* A terminal that takes colours, and nobody said NO_COLOR. */
bool term_colours(int fd);
/* A terminal whose cursor can be moved: colours are another matter. */
bool term_moves(int fd);
/* Columns of standard output; 80 when it cannot be told. */
size_t term_width(void);

/* "error: ..." on standard error; returns code, for `return term_fail(...)`. */
int term_fail(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void term_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Monotonic and wall clock, ms. */
int64_t term_now_ms(void);
int64_t term_wall_ms(void);
/* "2026-01-02T03:04:05.678Z" to Unix ms; -1 when it is none. */
int64_t term_parse_time(const char *text);
/* "12s", "17m", "8h", "2d"; "-" below 0. Returns out. */
const char *term_age(int64_t ms, char out[32]);
/* "24.3 ms", "1.2 s"; "-" below 0. Returns out. */
const char *term_latency(double ms, char out[32]);

/* Bytes of text that show in at most `columns`; never splits a character. */
size_t term_fit(const char *text, size_t columns);
/* Characters that text shows as. */
size_t term_columns(const char *text);

/* Left-aligned columns, three spaces between, two where the terminal is narrow;
 * cells are copied. */
struct table {
	size_t n_columns, n_cells;
	unsigned optional; /* bit of a column: left out when it says nothing */
	char **cells;	   /* owned: the header first */
};
void table_init(struct table *t, size_t n_columns, const char *const *header);
void table_fini(struct table *t);
void table_cell(struct table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Cells that are missing from the last row are empty. */
void table_render(const struct table *t, bool bold, size_t width,
		  struct buf *out);
void table_print(const struct table *t);

#endif
