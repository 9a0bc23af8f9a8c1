/* revision_parts.h: what the files of a revision share: its life (revision.c),
 * its places (places.c). */
#ifndef SERVE_REVISION_PARTS_H
#define SERVE_REVISION_PARTS_H

#include "serve/revision.h"

/* The place that is missed least, of one or more: it is not ready, else no
 * client is still taking an answer of it, else it has the least to do, and of
 * those alike the highest index. */
unsigned revision__least_missed(const struct revision *rev);
/* One of several that are in back-off, not the one that has died most: who goes
 * on trying has to know how often. False: there are no several. */
bool revision__surplus(const struct revision *rev, unsigned *ret);

#endif
