/* weigh.h: what each replica may claim of the processors, so that an api with
 * many does not take them from the others (policy/share.h). */
#ifndef SERVE_WEIGH_H
#define SERVE_WEIGH_H

#include <stdint.h>

struct replica;
struct revision;

/* Of a replica that is about to be started, in thousandths of a processor. */
int64_t weigh_replica(const struct replica *r);

/* Five times a second: of those that are there, since others come and go, and
 * what each takes of its part changes. */
void weigh_tick(const struct revision *rev);

#endif
