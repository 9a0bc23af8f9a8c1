/* stray.h: processes found by the mark the box left in their environment, for
 * machines without control groups. */
#ifndef BOX_STRAY_H
#define BOX_STRAY_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether pid, if it is no zombie, is of the session that `leader` began or has
 * the mark of that replica. */
bool box_belongs(pid_t pid, pid_t leader, const char *replica_id);

/* Sends SIGKILL to each process whose environment began with
 * SOMA_INSTANCE=instance and SOMA_REPLICA=replica_id, and to those they fork
 * meanwhile, never to this process. NULL matches any; not both. Returns how
 * many were signalled. Without root only the user's own processes can be looked
 * at; a program that wiped its environment is not found. Reads all of /proc:
 * for ends and clean-ups, not for every second. */
int box_kill_strays(const char *instance, const char *replica_id);

/* Sends SIGKILL to every process of the session that `leader` began (the box
 * makes one a replica), its process group included. Returns how many. */
int box_kill_session(pid_t leader);

#endif
