/* document.h: the table of keys as a page for people, and as a JSON schema for
 * editors. */
#ifndef SPEC_DOCUMENT_H
#define SPEC_DOCUMENT_H

#include "core/buf.h"
#include "spec/keys.h"

struct arena;

/* Draft 07. What it accepts and the parser refuses is what a schema cannot
 * say: files, ranges of quantities, rules that span keys. free() it. */
char *document_schema(void);

/* A table of Markdown for each part of the file, each under the line
 * "<!-- keys: PART -->". */
void document_tables(struct buf *out);

/* What is written for k: "integer from 1 to 100". */
const char *document_kind(struct arena *a, const struct key *k);

/* private: shared with the schema */

/* The types of predictor that k is for: "python or command"; NULL: all. */
const char *document__predictors(struct arena *a, const struct key *k);
/* Its words without those that are refused, with `between` between them. */
const char *document__words(struct arena *a, const struct key *k,
			    const char *between);

#endif
