/* rules.h: checks that span keys, and defaults that follow from others. */
#ifndef SPEC_RULES_H
#define SPEC_RULES_H

#include "spec/tree.h"

/* The FOR_ bit that the api's predictor has or implies; 0: cannot be told. */
uint8_t rules_predictor(struct node *api);
/* After the keys of an api were read. */
void rules_api(struct reader *r, struct node *api, struct spec *spec);
/* After all apis were. items[i] is that of specs[i]. */
void rules_file(struct reader *r, struct node **items);

#endif
