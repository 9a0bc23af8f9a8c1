/* help.h: what people read about the commands, made from their table. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "core/buf.h"
#include "core/args.h"

/* `soma help` and `soma COMMAND --help`, for a terminal of so many columns. */
void help_of_all(struct buf *out, size_t width);
void help_of(const struct command *c, struct buf *out, size_t width);

/* Prints one of them for this terminal; NULL: that of all. Returns CLI_OK. */
int help_show(const struct command *c);

/* Words to a width, behind `indent` spaces; paragraphs that begin with spaces
 * are kept as they are. The first line is not indented. */
void help_wrap(struct buf *out, const char *text, size_t indent, size_t width);

/* Columns that text is wrapped to on a terminal of so many. */
size_t help_width(size_t columns);

/* "soma has no command ..." with what was meant. Returns CLI_USAGE. */
int help_unknown(const char *name);

#endif
