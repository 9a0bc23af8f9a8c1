/* differ.h: whether two answers are the same, but for what numbers may differ
 * by. */
#ifndef SERVE_DIFFER_H
#define SERVE_DIFFER_H

#include <stdbool.h>

#include "core/json.h"
#include "core/str.h"

/* The first difference: where, and what stands there on either side. */
struct difference {
	char path[200];	     /* ".scores[2].label"; "": all of it */
	char a[100], b[100]; /* as JSON, cut where it is long; "nothing" */
};

/* JSON by its values: members in any order, numbers by their difference
 * relative to the larger one. What is no JSON by its bytes. *ret_largest: of
 * the relative differences of two numbers; only raised. */
bool answers_differ(struct str a, struct str b, double tolerance,
		    double *ret_largest);

/* The same of two values; *ret is set where they differ. */
bool values_differ(yyjson_val *a, yyjson_val *b, double tolerance,
		   struct difference *ret);

#endif
