/* problem.h: gathering what is wrong with a file while it is read. */
#ifndef SPEC_PROBLEM_H
#define SPEC_PROBLEM_H

#include "spec/spec.h"

struct node;

/* More are counted, not listed: nobody reads them. */
enum { PROBLEMS_LISTED = 200 };

struct reader {
	struct spec_set *set;
	const char *file_name;
	const struct spec_files *files; /* NULL: not checked */
	const char *api;		/* name of the api at hand, or NULL */
	const char *block;		/* that says what it runs: "predictor",
					   "handler", "pod" */
	uint8_t kind;			/* its KIND_ bit */
	uint8_t predictor;		/* its FOR_ bit; 0: not known */
	uint32_t room;			/* of set->problems */
	uint32_t n_listed[2], n_all[2]; /* by level */
};

/* n (may be NULL) gives the place, and is marked bad by an error. */
void problem_error(struct reader *r, struct node *n, const char *key,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void problem_warn(struct reader *r, const struct node *n, const char *key,
		  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void problem_at(struct reader *r, uint32_t line, uint32_t column,
		const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Whether one more error would be listed: else its words are not needed. */
bool problem_is_listed(const struct reader *r);

/* Puts them in file order. */
void problem_finish(struct reader *r);

/* 'text' as it can be printed: short, one line, no control characters. */
const char *problem_quote(struct reader *r, const char *text);
const char *problem_clean(struct reader *r, const char *text);

#endif
