/* publish.h: the Python worker, copied to where every replica's user can read
 * it. */
#ifndef DAEMON_PUBLISH_H
#define DAEMON_PUBLISH_H

#include "core/err.h"

/* Copies the worker beside this program (build/python/soma, or
 * PREFIX/lib/soma/python/soma) to DATA/lib/HASH/soma unless it is there. free()
 * the directory. */
int publish_worker(const char *data_dir, char **ret_dir, struct err *err);

#endif
