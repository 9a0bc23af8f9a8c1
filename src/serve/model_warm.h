/* model_warm.h: models that are not in memory are read from the disk while the
 * replica that is to use them still starts. */
#ifndef SERVE_MODEL_WARM_H
#define SERVE_MODEL_WARM_H

#include <stdbool.h>
#include <stdint.h>

struct process;
struct revision;

/* In a revision, zeroed. */
struct model_warm {
	/* private */
	bool looking;		 /* at the page cache, on the pool */
	struct process *process; /* that reads; or NULL */
	uint64_t bytes, ms;	 /* that it has read, in so long */
};

/* Its first replica starts, which may have to read its models from the disk:
 * looks whether they are in memory, and reads them ahead where they are not and
 * there is room for all of them. It is a help and no more: nobody waits. */
void model_warm_start(struct revision *rev);
/* Nobody needs them any more. */
void model_warm_leave(struct revision *rev);

#endif
