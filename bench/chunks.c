/* Streams of small chunks, as token streams are: their source and their reader,
 * exact and cheap, so that what lies between is what is measured.
 *
 *   chunks backend PORT RATE
 *              answers GET /stream with RATE chunks a second for ever, each a
 *              write of its own; GET /flood with as many bytes as are taken;
 *              anything else with "ok"
 *   chunks client PORT PATH STREAMS RATE SECONDS [SLOW_PATH SLOW]
 *              reads so many streams from PATH, and beside them SLOW from
 *              SLOW_PATH, a little at a time
 *   chunks relay PORT BACKEND
 *              passes bytes both ways: the least that a proxy can do
 *
 * A chunk is a server-sent event of fixed size that says when it was written
 * (CLOCK_MONOTONIC) and its number; the client looks at both.
 *
 * The client waits until every stream has begun, prints "begin" when it starts
 * to count and one line of JSON at its end. Streams come due one after the
 * other, evenly spread over the time between two chunks of one.
 *
 * Trusts its other side: heads come in one piece and are well-formed, and an
 * answer is chunked. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "chunks.h"

int chunks_epoll;
char chunks_buffer[CHUNKS_BUFFER];

void chunks_die(const char *what)
{
	fprintf(stderr, "chunks: %s: %s\n", what, strerror(errno));
	exit(1);
}

void chunks_give_up(const char *why)
{
	fprintf(stderr, "chunks: %s\n", why);
	exit(1);
}

uint64_t chunks_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int make_socket(const char *port, struct sockaddr_in *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		chunks_die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	*addr = (struct sockaddr_in){.sin_family = AF_INET,
				     .sin_port = htons((uint16_t)atoi(port)),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return fd;
}

int chunks_listen_at(const char *port)
{
	struct sockaddr_in addr;
	int fd = make_socket(port, &addr);

	if (bind(fd, (struct sockaddr *)&addr, sizeof addr) ||
	    listen(fd, 4096) || fcntl(fd, F_SETFL, O_NONBLOCK))
		chunks_die("listening");
	return fd;
}

int chunks_connect_to(const char *port)
{
	struct sockaddr_in addr;
	int fd = make_socket(port, &addr);

	if (connect(fd, (struct sockaddr *)&addr, sizeof addr))
		chunks_die("connecting");
	return fd;
}

void chunks_watch(int fd, void *of)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = of};

	if (epoll_ctl(chunks_epoll, EPOLL_CTL_ADD, fd, &e))
		chunks_die("epoll_ctl");
}

int chunks_wait_for(struct epoll_event *events, uint64_t until_ns)
{
	uint64_t now = chunks_now_ns(),
		 left = until_ns > now ? until_ns - now : 0;
	struct timespec t = {(time_t)(left / 1000000000),
			     (long)(left % 1000000000)};
	int n = epoll_pwait2(chunks_epoll, events, CHUNKS_EVENTS, &t, NULL);

	if (n < 0)
		chunks_die("epoll_pwait2");
	return n;
}

/* --- relay ------------------------------------------------------------------
 */

struct end {
	struct end *other;
	int fd;
};

static void pass(struct end *e)
{
	ssize_t n;

	if (e->fd < 0)
		return;
	n = recv(e->fd, chunks_buffer, CHUNKS_BUFFER, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0 &&
	    send(e->other->fd, chunks_buffer, (size_t)n, MSG_NOSIGNAL) == n)
		return;
	close(e->fd);
	close(e->other->fd);
	e->fd = e->other->fd = -1; /* kept: events may still speak of them */
}

static void accept_all(int listening, const char *to)
{
	int fd, one = 1;

	while ((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct end *e = calloc(2, sizeof *e);

		if (!e)
			chunks_die("memory");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		e[0] = (struct end){&e[1], fd};
		e[1] = (struct end){&e[0], chunks_connect_to(to)};
		chunks_watch(e[0].fd, &e[0]);
		chunks_watch(e[1].fd, &e[1]);
	}
}

static _Noreturn void relay(const char *port, const char *to)
{
	struct epoll_event events[CHUNKS_EVENTS];
	int listening = chunks_listen_at(port);

	chunks_watch(listening, NULL);
	for (;;) {
		int n = chunks_wait_for(events, chunks_now_ns() + 1000000000);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				pass(events[i].data.ptr);
			else
				accept_all(listening, to);
		}
	}
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_TIMERSLACK, 1);
	chunks_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (chunks_epoll < 0)
		chunks_die("epoll");
	if (argc == 4 && strcmp(argv[1], "backend") == 0)
		chunks_backend(argv[2], argv[3]);
	else if ((argc == 7 || argc == 9) && strcmp(argv[1], "client") == 0)
		chunks_client(argv + 2);
	else if (argc == 4 && strcmp(argv[1], "relay") == 0)
		relay(argv[2], argv[3]);
	else
		chunks_give_up("the comment at the head of chunks.c says how "
			       "it is called");
	return 0;
}
