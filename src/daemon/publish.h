/* publish.h: the Python worker, the native host and our own libraries, copied
 * to where every replica's user can read them. */
#ifndef DAEMON_PUBLISH_H
#define DAEMON_PUBLISH_H

#include <stddef.h>

#include "core/err.h"

/* Copies the worker beside this program (build/python/soma, or
 * PREFIX/lib/soma/python/soma) to DATA/lib/HASH/soma unless it is there. free()
 * the directory. */
int publish_worker(const char *data_dir, char **ret_dir, struct err *err);
/* The same for the host with its engines (build/host, or PREFIX/lib/soma/host),
 * to DATA/lib/HASH/host. */
int publish_host(const char *data_dir, char **ret_dir, struct err *err);
/* The libraries that this program has loaded and that are none of the system's,
 * by which it can run as another user, too, who may not get to where they are:
 * to DATA/lib/HASH/own. NULL: there are none. */
int publish_libraries(const char *data_dir, char **ret_dir, struct err *err);
/* Removes what earlier versions have published: all but the n directories that
 * were returned above. For when no process of theirs runs any more. What
 * cannot be removed stays. */
void publish_sweep(const char *data_dir, const char *const *kept,
		   size_t n_kept);

#endif
