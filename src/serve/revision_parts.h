/* revision_parts.h: what the files of a revision share: its life (revision.c),
 * its places (places.c), and those it lacks for want of memory (lacking.c). */
#ifndef SERVE_REVISION_PARTS_H
#define SERVE_REVISION_PARTS_H

#include "serve/revision.h"

/* The place that is missed least, of one or more: it is not ready, else no
 * client is still taking an answer of it, else it has the least to do, and of
 * those alike the highest index. */
unsigned revision__least_missed(const struct revision *rev);
/* lacking.c: of so many places that are missing those for which there is room.
 */
unsigned revision__lacking(struct revision *rev, unsigned missing);
/* No more are missing than there is room for; it claims nothing. */
void revision__sated(struct revision *rev);
/* revision.c: why fewer are there, or none. */
void revision__set_message(struct revision *rev, const char *text);
/* The rollout failed: said once, with what the replica printed last; NULL: it
 * is nobody's fault. */
void revision__failed(struct revision *rev, const char *replica,
		      const char *text);
/* One of several that are in back-off, not the one that has died most: who goes
 * on trying has to know how often. False: there are no several. */
bool revision__surplus(const struct revision *rev, unsigned *ret);

#endif
