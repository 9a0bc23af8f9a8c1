/* measure.h: the memory that a revision's replicas take, looked at now and
 * then.
 */
#ifndef SERVE_MEASURE_H
#define SERVE_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct api;
struct revision;

/* In a revision, zeroed. */
struct measure {
	uint64_t bytes;	  /* of a whole replica, last time; 0: not known */
	uint64_t next_at; /* private: uv_now */
	bool under_way;	  /* private */
};

/* About once a second, while it has replicas. */
void measure_tick(struct revision *rev);

/* What a look has found. */
struct measured {
	struct revision *rev; /* borrowed; NULL: it is gone */
	int64_t revision;     /* its number */
	pid_t pid;	      /* who was looked at; another's by now, perhaps */
	uint64_t bytes;	      /* of it and of what is below it; 0: not known */
};
typedef void measure_done(struct api *a, const struct measured *m);

/* Looks at a process of the revision, on the pool. Not 0: it cannot. Else done
 * comes later, unless the api is gone by then. */
int measure_look(struct revision *rev, pid_t pid, measure_done *done);

#endif
