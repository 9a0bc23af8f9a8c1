/* scale_parts.h: what the files of an api's number of replicas share: decisions
 * and what is done (scale.c), what policy is told and people are shown
 * (scale_look.c), what outlives the daemon (scale_keep.c). */
#ifndef SERVE_SCALE_PARTS_H
#define SERVE_SCALE_PARTS_H

#include "serve/api.h"

enum {
	SCALE_HAND_S = 300,   /* what was said by hand holds so long */
	SCALE_HELD_MAX = 100, /* requests in a mean, about */
};

/* scale_look.c */
struct scale_view scale__look(struct api *a, struct revision *rev);
/* Requests that a whole replica of it serves at once. */
uint32_t scale__at_once(const struct revision *rev);
/* Answers of it that clients have not taken yet, and that hold no place. */
uint32_t scale__passing(const struct revision *rev);
void scale__came(struct scale_came *c, uint64_t now_ns);

/* scale_keep.c */
/* Something that is kept has changed: it is, within a minute. */
void scale__changed(struct api *a);
/* At once. done may be NULL. */
void scale__keep(struct api *a, store_done *done, void *data);

#endif
