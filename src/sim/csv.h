/* csv.h: text in rows of fields with commas between them and no quotes. */
#ifndef SIM_CSV_H
#define SIM_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/str.h"

struct csv {
	char *path; /* owned */
	char *text; /* owned */
	struct str rest;
	unsigned line;	    /* of the row that was read last, from 1 */
	struct str *fields; /* owned: of that row */
	size_t n, cap;
};

/* Reads a whole file, which gzip may have packed, and its first row. Names
 * `what` in the error of one that cannot be read. */
int csv_open(struct csv *c, const char *path, struct err *err);
void csv_close(struct csv *c);
/* The next row; empty lines are passed over. False at the end. */
bool csv_next(struct csv *c);
/* A field as a number of at least 0; E_INVALID with file, line and column. */
int csv_number(const struct csv *c, size_t i, double *ret, struct err *err);
int csv_count(const struct csv *c, size_t i, uint32_t *ret, struct err *err);
/* The row must have so many fields. */
int csv_need(const struct csv *c, size_t n, struct err *err);

#endif
