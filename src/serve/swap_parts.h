/* swap_parts.h: what the files of swapping share: what is done (swap.c), what
 * policy is told (swap_look.c), and what people are (swap_words.c). */
#ifndef SERVE_SWAP_PARTS_H
#define SERVE_SWAP_PARTS_H

#include "serve/swap.h"

extern const struct swap_rule swap__rule;

/* The revision of an api that claims memory, or has it; NULL: none. */
struct revision *swap__revision(const struct api *a);

/* These of all apis, as policy sees them. */
struct swap_look {
	struct swap_view view;
	struct swap_model *models; /* owned: the view's */
	struct revision **revs;	   /* owned array of borrowed, as many */
};

/* asking: who is seen as one that lacks memory, or NULL. */
struct swap_look swap__look(struct serve *s, const struct revision *asking);
void swap__look_fini(struct swap_look *l);
/* Its place among them; SIZE_MAX: it is not there. */
size_t swap__find(const struct swap_look *l, const struct revision *rev);

#endif
