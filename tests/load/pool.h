/* pool.h: the clients of a load: those that ask, and those whose connections
 * rest. */
#ifndef LOAD_POOL_H
#define LOAD_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "answer.h"

enum { POOL_MOST = 4000 };

struct client {
	enum { FREE, CONNECTING, ASKED, RESTING } state;
	int fd;
	struct client *next_free;
	struct client *older, *newer; /* of those that rest */
	bool stream, only;	      /* one answer on this connection */
	uint64_t id, due_ns, rests_ns;
	unsigned low;	   /* the least revision that may answer */
	unsigned revision; /* of a stream: whose it is; 0: none yet */
	unsigned n, next;  /* lines */
	struct answer answer;
};

extern struct client pool[POOL_MOST];
extern size_t pool_n; /* so many were ever used */

/* NULL: all are in use. */
struct client *pool_take(void);
/* Closes its connection. Events of this turn may still name it. */
void pool_release(struct client *c);
/* All events of the last turn were seen. */
void pool_turn(void);
/* It has been answered, and its connection is kept. */
void pool_rest(struct client *c, uint64_t now_ns);
/* The one that has rested longest, which rests no more; NULL: none does. */
struct client *pool_wake(void);

#endif
