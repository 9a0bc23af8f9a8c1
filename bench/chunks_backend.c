/* The source of the streams. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chunks.h"

enum { CHUNK = 4 + EVENT + 2 }; /* an event and what frames it */

struct source {
	int fd; /* -1: its client has left */
	bool flood;
	struct source *next; /* in `due` */
	uint64_t due_ns;
	uint32_t number;
	char chunk[CHUNK + 1]; /* being written */
	size_t left;	       /* of it: its client takes no more just now */
};

static struct source *due; /* who streams, soonest first */
static uint64_t period_ns;

/* Into its place; all have one period, so most go to the end. */
static void push(struct source *s)
{
	static struct source *last;
	struct source **at = &due;

	if (due && last && last->due_ns <= s->due_ns)
		at = &last->next;
	while (*at && (*at)->due_ns <= s->due_ns)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
	if (!s->next)
		last = s;
}

/* A phase of its own, far from those of the streams just before it. */
static void begin(struct source *s)
{
	static uint32_t n;
	uint64_t now = chunks_now_ns(),
		 step = (uint64_t)(0.6180339887 * 4294967296.0);
	uint64_t phase = (uint32_t)(n++ * step) * period_ns >> 32;

	s->due_ns = now - now % period_ns + period_ns + phase;
	push(s);
}

static void answer(struct source *s, const char *head)
{
	static const char ok[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
		"Content-Length: 2\r\n\r\nok";
	static const char stream[] = "HTTP/1.1 200 OK\r\n"
				     "Content-Type: text/event-stream\r\n"
				     "Transfer-Encoding: chunked\r\n\r\n";
	bool streams = strncmp(head, "GET /stream ", 12) == 0;

	s->flood = strncmp(head, "GET /flood ", 11) == 0;
	if (streams || s->flood) {
		send(s->fd, stream, sizeof stream - 1, MSG_NOSIGNAL);
		begin(s);
	} else {
		send(s->fd, ok, sizeof ok - 1, MSG_NOSIGNAL);
	}
}

static void read_request(struct source *s)
{
	ssize_t n = recv(s->fd, chunks_buffer, CHUNKS_BUFFER - 1, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close(s->fd);
		s->fd = -1; /* and is freed, if it streams, when it is due */
		if (!s->due_ns)
			free(s);
		return;
	}
	chunks_buffer[n] = '\0';
	if (!s->due_ns)
		answer(s, chunks_buffer);
}

/* What a full socket leaves over goes first, with nothing made meanwhile. */
static void write_chunk(struct source *s, uint64_t now)
{
	ssize_t n;

	if (!s->left) {
		snprintf(s->chunk, sizeof s->chunk, "%x\r\n" EVENT_FORM "\r\n",
			 (unsigned)EVENT, now, s->number++);
		s->left = CHUNK;
	}
	n = send(s->fd, s->chunk + CHUNK - s->left, s->left,
		 MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		s->left -= (size_t)n;
}

/* In whole chunks of one size. */
static void write_flood(struct source *s)
{
	static char chunk[6 + 0x4000 + 2];
	ssize_t n;

	memset(chunk, 'x', sizeof chunk);
	memcpy(chunk, "4000\r\n", 6);
	memcpy(chunk + sizeof chunk - 2, "\r\n", 2);
	do {
		if (!s->left)
			s->left = sizeof chunk;
		n = send(s->fd, chunk + sizeof chunk - s->left, s->left,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			s->left -= (size_t)n;
	} while (n > 0 && !s->left);
}

static void write_due(uint64_t now)
{
	while (due && due->due_ns <= now) {
		struct source *s = due;

		due = s->next;
		if (s->fd < 0) {
			free(s);
			continue;
		}
		if (s->flood)
			write_flood(s);
		else
			write_chunk(s, chunks_now_ns());
		s->due_ns += period_ns;
		push(s);
	}
}

static void accept_all(int listening)
{
	int fd, one = 1;

	while ((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct source *s = calloc(1, sizeof *s);

		if (!s)
			chunks_die("memory");
		s->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		chunks_watch(fd, s);
	}
}

void chunks_backend(const char *port, const char *rate)
{
	struct epoll_event events[CHUNKS_EVENTS];
	int listening = chunks_listen_at(port);

	period_ns = (uint64_t)(1e9 / atof(rate));
	chunks_watch(listening, NULL);
	for (;;) {
		int n = chunks_wait_for(events,
					due ? due->due_ns
					    : chunks_now_ns() + 1000000000);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				read_request(events[i].data.ptr);
			else
				accept_all(listening);
		}
		write_due(chunks_now_ns());
	}
}
