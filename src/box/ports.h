/* ports.h: TCP ports: one that is free, and those that a process, or one that
 * it started, listens on. */
#ifndef BOX_PORTS_H
#define BOX_PORTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Ports of pid and of what is below it, each once, in the order they were
 * found; returns how many, at most room. Processes that may not be looked at,
 * and kernels that do not list children, give fewer: this is for messages.
 * Reads /proc: not for the loop's thread. */
size_t ports_of(pid_t pid, uint16_t *ret, size_t room);

/* A port that nobody has now, -1 if there is none: another each time, and not
 * one of those that the kernel gives to whoever asks for any, as far as it
 * leaves some. So it is rare that somebody else takes it before the program
 * does that it is meant for. For one thread. */
int ports_pick(void);

#endif
