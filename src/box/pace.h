/* pace.h: how soon the kernel lets a process of ours run that wakes up. */
#ifndef BOX_PACE_H
#define BOX_PACE_H

#include <stdbool.h>
#include <sys/types.h>

/* Threads that run predict are SCHED_BATCH: one that wakes up pushes nobody off
 * its processor. Brisk: they do, by slices shorter than anybody else's (Linux
 * 6.12 and later; before, it depends). Other threads stay as they are. What has
 * been done shows on the threads themselves, and so a daemon needs to remember
 * nothing. A few small system calls for each thread. */
void pace_set(pid_t pid, bool brisk);

#endif
