/* weigh.h: what each replica may claim of the processors, so that an api with
 * many does not take them from the others (policy/share.h). */
#ifndef SERVE_WEIGH_H
#define SERVE_WEIGH_H

#include <stdint.h>

struct api;
struct revision;

/* Of the next replica of the revision, in thousandths of a processor. */
int64_t weigh_next(const struct revision *rev);

/* Once a second: of those that are ready, as many as they are now. */
void weigh_tick(struct api *a);

#endif
