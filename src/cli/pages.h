/* pages.h: the manual and the pages of docs/ that are made from tables:
 * `soma help --page`. Their texts are those of help: paragraphs; one that
 * begins with spaces is kept as it is; 'quoted' is code. */
#ifndef CLI_PAGES_H
#define CLI_PAGES_H

#include "core/buf.h"

/* What is said of all commands. NULL ends the list. */
struct topic {
	const char *title, *text;
};
extern const struct topic page_topics[];

void page_cli(struct buf *out);	     /* docs/cli.md */
void page_errors(struct buf *out);   /* docs/errors.md */
void page_man(struct buf *out);	     /* soma.1 */
void page_man_keys(struct buf *out); /* soma.yaml.5 */

/* The end of the code that begins after the quote at `at`, which is at `text`
 * or behind it; NULL: the quote is an apostrophe, or ends something. */
const char *page_code_end(const char *text, const char *at);

#endif
