/* model_pin.h: the links that say which tree a revision's model is: for its
 * replicas, and for the next daemon. */
#ifndef SERVE_MODEL_PIN_H
#define SERVE_MODEL_PIN_H

#include "serve/model.h"

struct revision;

/* DATA/models/pins/API-N/NAME; mem_printf. */
char *pin_path(const struct revision *rev, const char *name);
/* Where it leads, and the tree that is; NULL: nowhere. mem_printf. */
char *pin_read(const struct models *all, const char *pin,
	       char ret_tree[SHA256_HEX]);
/* It leads there from now on, whoever looks at it. */
int pin_set(const char *pin, const char *to, struct err *err);
/* All of a revision that is over. */
void pins_remove(const struct revision *rev);

#endif
