/* What a gateway does beside passing on, at the least: it looks at each field
 * of a head and leaves out those of one hop, and has a request id, forwarded
 * headers, times, counters and a line of log for each request. */
#ifndef FLOOR_GATE_H
#define FLOOR_GATE_H

#include <stddef.h>
#include <stdint.h>

enum {
	GATE_ID = 32,
	GATE_PATH = 128,
	GATE_MORE = 256, /* bytes that a head becomes longer by, at most */
};

/* Of a request that is under way, with its client's address. */
struct gate {
	char peer[32]; /* "127.0.0.1:4711" */
	char method[8], path[GATE_PATH];
	char id[GATE_ID];
	uint64_t since; /* ns of CLOCK_MONOTONIC */
	size_t in;
};

/* Lines go to this file, 64 KiB at once, or each second. */
void gate_open(const char *log);
/* Once a second. */
void gate_flush(void);

/* The head of `head` bytes at p, of a request of `size` in all, with what is to
 * be said to the backend, at out, which has room for GATE_MORE more; returns
 * how long it is, 0 if the head is none, and when it came. */
size_t gate_request(struct gate *g, const char *p, size_t head, size_t size,
		    char *out, uint64_t *ret_now);
/* The same of the answer, which is counted and logged. */
size_t gate_answer(const struct gate *g, const char *p, size_t head,
		   size_t size, char *out, uint64_t *ret_now);

#endif
