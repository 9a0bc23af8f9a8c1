/* proto.h: what the keeper and the daemon say to each other over their
 * SEQPACKET socket. */
#ifndef KEEP_PROTO_H
#define KEEP_PROTO_H

#include <stdint.h>

enum keep_type {
	/* daemon to keeper */
	KEEP_HELLO = 1,	   /* I am up: tell me what there is */
	KEEP_SPAWN = 2,	   /* id; descriptors below; no payload */
	KEEP_SIGNAL = 3,   /* id; arg: signal, to its whole process group */
	KEEP_FORGET = 4,   /* id: I have dealt with its exit */
	KEEP_SERVING = 5,  /* start-up is over: later deaths are new ones */
	KEEP_SETTINGS = 6, /* RELOAD is done; payload: settings_dump of those in
			      force now, for the keeper and daemons to come */
	KEEP_ADOPT = 7,	   /* id; arg: pid of a child of yours that a zygote
			      has forked; descriptors: log read end, control
			      end; payload: JSON {"mark","meta","uid"}. Answered by
			      SPAWNED, and by EXIT if it is dead already */
	KEEP_UPGRADE = 8,  /* payload: path of the program of the next daemon;
			      none: where the keeper's own is. Answered by
			      UPGRADED, also behind YIELDED */
	KEEP_READY = 9, /* of a new daemon, before its HELLO: all is done that
			   can be beside another; it waits for GO */
	KEEP_YIELDED = 10, /* arg 0: the store is closed, no child is listened
			      to; from here on only HOLDS. 1: not now; payload:
			      why */
	KEEP_HOLDS = 11,   /* id; arg: requests that it still has there, and in
			      the upper half those of them that hold a place;
			      each time that they are others; 0 at first */

	/* keeper to daemon, in answer to HELLO: LISTENER..., CHILD..., END */
	KEEP_LISTENER = 32, /* arg: enum keep_listener; one descriptor */
	KEEP_CHILD = 33,    /* id; arg: pid; descriptors: log read end, then
			       control end if it has one; payload: its meta */
	KEEP_END = 34,
	/* and at any time */
	KEEP_SPAWNED = 35,  /* id; arg: pid, or -errno (then no EXIT follows; of
			       ADOPT ESRCH: it is no child of the keeper's).
			       Of ADOPT, while it lives and where the kernel has
			       them, with a descriptor: its pidfd */
	KEEP_EXIT = 36,	    /* id; arg: wait status; again to each new daemon
			       until FORGET */
	KEEP_STOP = 37,	    /* drain and exit 0: Soma is to end. The keeper has
			       closed its listeners; none are told any more */
	KEEP_RELOAD = 38,   /* SIGHUP: read the settings file again */
	KEEP_YIELD = 39,    /* a new daemon is READY: answered by YIELDED */
	KEEP_GO = 40,	    /* to who is READY: all is yours, say HELLO */
	KEEP_UPGRADED = 41, /* arg 0: a new daemon serves; payload: its version.
			       Else payload: why not, and what is so now */
	KEEP_HELD = 42,	    /* id; arg: as HOLDS, of all earlier daemons */
};

/* PASS is a Unix socket, DATA/run/s/.pass: there a daemon that has yielded asks
 * the one that serves. */
enum { KEEP_HOLDS_SHIFT = 16, KEEP_HOLDS_MOST = 2047 };

enum keep_listener { KEEP_DATA = 0, KEEP_ADMIN = 1, KEEP_PASS = 2 };
enum { KEEP_LISTENERS = 3 };
#define KEEP_PASS_NAME ".pass"
/* And, with its pid behind, one at which it is asked for calls that it runs. */
#define KEEP_CALLS_NAME ".calls-"

/* SPAWN's descriptors, in this order; the first two say that one is there. */
enum keep_spawn_flags {
	KEEP_HAS_LISTEN = 1,  /* child's 3 */
	KEEP_HAS_CONTROL = 2, /* child's 4, and the daemon's end to keep */
	KEEP_HAS_FORKS = 4,   /* a zygote: what bears its mark may be asked for
				 by ADOPT, and lives until it is forgotten */
};
/* [0] a memfd with JSON {"name","argv":[],"env":["K=V"],"meta":"..."}
 * [1] log pipe, write end: child's 1 and 2    [2] log pipe, read end: kept
 * [3] status pipe, write end: child's 5
 * then listening socket; control, child's end; control, daemon's end: kept
 *
 * argv is the box's and env the program's: they never meet. The keeper execs
 * argv with an environment of its own, and gives env as the child's 6, a file
 * of "K=V" each ended by a NUL, which only the box's final execve uses. */

struct keep_head {
	uint16_t type;
	uint16_t flags;
	int32_t arg;
	uint64_t id; /* chosen by the daemon, never reused while listed */
};

#endif
