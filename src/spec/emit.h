/* emit.h: JSON values as YAML text. */
#ifndef SPEC_EMIT_H
#define SPEC_EMIT_H

#include <stdbool.h>

#include "core/json.h"

/* Appends val as one block-style document that any reader of YAML 1.1 or 1.2
 * takes for the same value: texts that look like something else are quoted.
 * stream: "---" stands before it, so that others may follow. Running out of
 * room sets out->full. */
void emit_yaml(struct buf *out, yyjson_val *val, bool stream);

#endif
