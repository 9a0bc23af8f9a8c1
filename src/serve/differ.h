/* differ.h: whether two answers are the same, but for what numbers may differ
 * by. */
#ifndef SERVE_DIFFER_H
#define SERVE_DIFFER_H

#include <stdbool.h>

#include "core/str.h"

/* JSON by its values: members in any order, numbers by their difference
 * relative to the larger one. What is no JSON by its bytes. *ret_largest: of
 * the relative differences of two numbers; only raised. */
bool answers_differ(struct str a, struct str b, double tolerance,
		    double *ret_largest);

#endif
