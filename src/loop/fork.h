/* fork.h: what a zygote does, whatever it has loaded: it waits on its control
 * channel and forks. No loop and no thread: there is neither in a zygote.
 *
 *   keeper ── zygote ┄ vfork ┄ the one between ┄ fork ┄▶ replica
 *      └────────────── is its parent, when that one is gone ──┘
 */
#ifndef LOOP_FORK_H
#define LOOP_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "loop/frame.h"

/* FORK's descriptors, in this order. */
enum { FORK_LISTENER, FORK_CONTROL, FORK_LOG, FORK_FDS };

/* The variable by whose value what a replica leaves behind is found: the name
 * of its process, which is FORK's payload. */
#define FORK_MARK "SOMA_REPLICA"
enum { FORK_MARK_MAX = 256 };

/* What fork_receive has received. */
struct fork_order {
	struct frame head;
	char mark[FORK_MARK_MAX]; /* of the replica; "": it keeps ours */
	int fds[FORK_FDS];	  /* close-on-exec, none of them 0, 1 or 2;
				     -1: it was not sent, or had no room */
};

/* Before the first fork: its parent is to be the replicas'. */
void fork_init(void);
/* The next frame, waited for. False: Soma is gone. */
bool fork_receive(int control, struct fork_order *ret);
/* Whether there is all that a replica needs. */
bool fork_is_complete(const struct fork_order *o);
void fork_close(const struct fork_order *o);
/* Waits for room on the channel, at most some seconds. */
void fork_send(int control, enum frame_type type, uint32_t arg,
	       const char *text, size_t len);
/* Forks twice, so that the child is no child of ours: it outlives us, and its
 * end is told to the keeper. Returns 0 in it; here its pid, or -errno. */
pid_t fork_twice(void);
/* Says FORKED: what fork_twice returned. */
void fork_tell(int control, uint32_t number, pid_t pid);
/* In the child: a session, output, and a mark of its own. The other two
 * descriptors are its owner's. */
void fork_settle(const struct fork_order *o);
/* Whether this process is such a child. */
bool fork_made_us(void);
/* If it is: it is to die with the keeper, its parent. 0 or -1. */
int fork_follow_keeper(void);

#endif
