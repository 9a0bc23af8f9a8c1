/* rules.h: checks that span keys, and defaults that follow from others. */
#ifndef SPEC_RULES_H
#define SPEC_RULES_H

#include "spec/tree.h"

/* Before the keys of an api are read: which block says what it runs, and the
 * FOR_ bit that its type has or its keys imply. */
void rules_begin(struct reader *r, struct node *api);
/* After they were. */
void rules_api(struct reader *r, struct node *api, struct spec *spec);
/* After all apis were. items[i] is that of specs[i]. */
void rules_file(struct reader *r, struct node **items);

/* Defaults that follow from other fields, where a field has none yet. */
void rules_fill(struct spec *spec);

/* FOR_ bits for people: "python or command". */
const char *rules_types(struct arena *a, uint8_t predictors);

#endif
