/* chan.h: messages with descriptors over a Unix SEQPACKET socket, on a loop. */
#ifndef LOOP_CHAN_H
#define LOOP_CHAN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/list.h"

enum { CHAN_FDS_MAX = 8, CHAN_MSG_MAX = 200 * 1024 };

struct chan;

/* One message. The bytes are valid inside the call only; the descriptors are
 * the callee's (close-on-exec). A message that lost some of its descriptors, as
 * no more could be opened, has none: whoever expects them counts. */
typedef void chan_on_msg(struct chan *c, const void *data, size_t len,
			 const int *fds, size_t n_fds);
/* The other end is gone, or the socket broke. The channel is still to be
 * closed. */
typedef void chan_on_end(struct chan *c);

struct chan {
	uv_poll_t poll;	  /* private */
	uv_timer_t retry; /* private: sends again what failed for a moment */
	unsigned handles; /* private: open while closing */
	int fd;		  /* owned; -1 when closed */
	chan_on_msg *on_msg;
	chan_on_end *on_end;
	struct list queue; /* private: messages the socket had no room for */
	size_t queued;	   /* bytes in it */
	bool ended;
	void (*on_closed)(struct chan *c);
};

/* A connected pair, close-on-exec, first end non-blocking. 0 or -errno. */
int chan_pair(int ret_fds[2]);

/* fd belongs to the channel from now on. 0 or a libuv error. */
int chan_open(struct chan *c, uv_loop_t *loop, int fd, chan_on_msg *on_msg,
	      chan_on_end *on_end);
bool chan_is_open(const struct chan *c);

/* Sends head and payload as one message, with copies of the descriptors. What
 * the socket cannot take now is queued. A broken channel swallows: its end is
 * told by on_end. */
void chan_send(struct chan *c, const void *head, size_t head_len,
	       const void *payload, size_t len, const int *fds, size_t n_fds);

/* Tells what has arrived already, without on_end: for an owner that knows the
 * other end to be dead and is about to close. */
void chan_drain(struct chan *c);

/* Stops and closes; on_closed (may be NULL) comes on a later turn, and then
 * the memory is the owner's. Not to be called twice. */
void chan_close(struct chan *c, void (*on_closed)(struct chan *c));

#endif
