/* tree.h: a process and those below it. */
#ifndef BOX_TREE_H
#define BOX_TREE_H

#include <stddef.h>
#include <sys/types.h>

enum { TREE_MAX = 64 };

/* pid first, then what is below it, in the order it was found; returns how
 * many. More than TREE_MAX, and kernels that do not list children, give fewer.
 * Reads /proc: not for the loop's thread. */
size_t tree_of(pid_t pid, pid_t ret[TREE_MAX]);

#endif
