/* each.h: the same for each of many, on all processors. */
#ifndef SIM_EACH_H
#define SIM_EACH_H

#include <stddef.h>

/* one(data, i) for each i below n, in any order and at the same time. */
void sim__each(size_t n, void (*one)(void *data, size_t i), void *data);

#endif
