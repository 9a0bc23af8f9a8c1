/* adopt.h: children that the keeper has not started: a zygote forked them, its
 * own end made them the keeper's, and the daemon says who they are. */
#ifndef KEEP_ADOPT_H
#define KEEP_ADOPT_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/list.h"
#include "core/str.h"
#include "keep/child.h"

/* Ends of children that nobody had told of yet. One that dies as soon as it is
 * forked is dead before ADOPT comes; who is never asked for is forgotten when
 * as many others have ended. */
enum { ADOPT_ENDS = 256 };

struct adopt_ends {
	struct {
		pid_t pid; /* 0: none */
		int status;
	} last[ADOPT_ENDS];
	unsigned at; /* the next is put here */
};

/* An unknown child has ended. */
void adopt_note_end(struct adopt_ends *ends, pid_t pid, int status);

/* Makes a child of an ADOPT message, whose fds are taken. 0: it is in
 * `children`, with pid 0 and its status if it has ended. Else -errno, and
 * nothing is left: -ESRCH for who is not below us, is in `children` already, is
 * the daemon, or runs as another user than the message says. */
int adopt_child(struct list *children, struct adopt_ends *ends, pid_t daemon,
		const struct keep_head *head, struct str payload,
		const int *fds, size_t n_fds);

#endif
