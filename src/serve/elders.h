/* elders.h: daemons that have yielded, and may still be answering calls. */
#ifndef SERVE_ELDERS_H
#define SERVE_ELDERS_H

#include "core/list.h"
#include "http/proxy.h"

struct local;

struct elder {
	struct list link;
	struct http_upstream up; /* DATA/run/s/.calls-PID */
	bool gone;		 /* it has none left, or is dead */
};

/* Those that are there when this daemon begins; none comes later. */
void elders_find(struct list *elders, struct local *l, struct lane *lane);
/* The one behind `last`, or the first for NULL; NULL: there is none. */
struct elder *elders_next(struct list *elders, struct elder *last);
/* Returns whether all are closed; to be called until they are. */
bool elders_close(struct list *elders);

#endif
