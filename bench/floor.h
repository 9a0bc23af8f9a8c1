/* floor.h: the parts of floor.c. */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { BUFFER = 128 * 1024 };

/* A connection of either side. */
struct side {
	int fd;
	bool upstream;
	struct side *peer; /* proxy: whom its bytes go to */
	struct side *next; /* in a list of idle or of dead ones */
	size_t left;	   /* of the message that is coming in */
	size_t have;	   /* echo: bytes of it so far */
	char *message;	   /* echo: a message that came in pieces */
	struct gate *gate; /* gate: of a client */
	uint64_t at;	   /* gate: when something came last */
};

void die(const char *what);
uint64_t now_ns(void); /* of CLOCK_MONOTONIC */
struct side *watch(int fd, bool upstream);
void end(struct side *s);
/* An open socket for PORT or @NAME, and its address. */
int make_socket(const char *where, struct sockaddr_storage *addr,
		socklen_t *len);
/* All of it: a full socket is waited for. */
bool send_all(int fd, const char *p, size_t n);
/* Bytes of the message whose head begins at p; 0 when that is not whole. */
size_t message_size(const char *p, size_t n, size_t *ret_head);

/* --- floor_echo.c ----------------------------------------------------------
 */

/* argv: LIBRARY [MODEL INPUTS]... */
void echo_open(int argc, char **argv);
bool echo(struct side *s, char *p, size_t n);
void echo_forget(const struct side *s);
/* For how long epoll may sleep: 0 when a batch is due. */
int echo_wait_ms(void);
void echo_run_batch(void);

/* --- floor_proxy.c ---------------------------------------------------------
 */

/* log: where the gate writes to, NULL for a bare proxy. */
void proxy_open(const char *backend, const char *log);
bool proxy_is_gate(void);
bool pass(struct side *s, char *p, size_t n);
void proxy_note(struct side *s);
void proxy_forget(const struct side *s);
/* After each turn of the loop, which had events or slept: once a second, the
 * log, and clients who say nothing. */
void proxy_sweep(bool slept);

#endif
