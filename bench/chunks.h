/* chunks.h: what the parts of chunks.c share. */
#ifndef BENCH_CHUNKS_H
#define BENCH_CHUNKS_H

#include <inttypes.h>
#include <stdint.h>
#include <sys/epoll.h>

/* A chunk's text: when it was written, and its number. */
#define EVENT_FORM "data: %016" PRIx64 " %08" PRIx32 " a token of text\n\n"

enum {
	EVENT = 6 + 16 + 1 + 8 + 16 + 2, /* bytes of it */
	CHUNKS_BUFFER = 128 * 1024,
	CHUNKS_EVENTS = 256,
};

extern int chunks_epoll;
extern char chunks_buffer[CHUNKS_BUFFER]; /* for one read */

_Noreturn void chunks_die(const char *what); /* with errno's text */
_Noreturn void chunks_give_up(const char *why);
uint64_t chunks_now_ns(void);
int chunks_listen_at(const char *port);
int chunks_connect_to(const char *port);
void chunks_watch(int fd, void *of);
/* Waits until something has come, or until `until_ns`; CHUNKS_EVENTS at once.
 */
int chunks_wait_for(struct epoll_event *events, uint64_t until_ns);

/* chunks_backend.c, chunks_client.c: the modes of these names. */
_Noreturn void chunks_backend(const char *port, const char *rate);
void chunks_client(char **argv);

#endif
