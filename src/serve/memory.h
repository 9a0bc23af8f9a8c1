/* memory.h: whether one more replica fits into this machine, by what their
 * specs reserve (compute.mem). */
#ifndef SERVE_MEMORY_H
#define SERVE_MEMORY_H

#include <stdint.h>

#include "core/err.h"
#include "spec/spec.h"

struct revision;

/* Of the machine, or what our control group may have of it. */
uint64_t memory_total(void);
/* Fails when not even min_replicas of it would fit, were they alone. */
int memory_check(const struct spec *spec, struct err *err);
/* Replicas, beside those that it has, for which memory is left; those of its
 * api's other revisions are not counted, since they make room for each other.
 * What leaves holds what it has until it has ended. *ret_soon: for so many
 * there is when that is over. */
unsigned memory_fits(const struct revision *rev, unsigned *ret_soon);
/* Why no more do: mem_printf'ed. */
char *memory_text(const struct revision *rev);

#endif
