/* The floor: the least that an epoll loop can do for HTTP, without being a
 * server that anyone should run. What others need beyond it is what they do.
 *
 *   floor echo PORT            answers a body with itself, GET /N with N bytes
 *   floor proxy PORT BACKEND   passes messages on to BACKEND and back
 *   floor gate PORT BACKEND LOG
 *                              does what else a gateway does: floor_gate.h
 *   floor hops PORT [LIBRARY [MODEL INPUTS]...]
 *                              two processes: the proxy, and the echo behind it
 *                              on a Unix socket. /call/N is answered when the
 *                              Nth model, from 0, has been called; /json/N with
 *                              what it says to the body's inputs; /batch/N/SIZE
 *                              so, too, but SIZE at once, or those that came
 *                              within 5 ms
 *   floor loop LIBRARY MODEL INPUTS SECONDS
 *                              calls a model, without HTTP
 *
 * PORT and BACKEND are ports of 127.0.0.1, or @NAME for an abstract Unix
 * socket; LIBRARY is ONNX Runtime's, INPUTS as floor_call.h says.
 *
 * Trusts its clients: heads come in one piece and are well-formed, messages
 * have a Content-Length or no body, and there is no time limit on anything. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "floor.h"
#include "floor_call.h"

enum { EVENTS = 256 };

static int epoll;
static bool (*take)(struct side *s, char *p, size_t n); /* echo or pass */
static char buffer[BUFFER];
static struct side *dead; /* freed when no event can speak of them */

void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct side *watch(int fd, bool upstream)
{
	struct side *s = calloc(1, sizeof *s);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
	int one = 1;

	if (!s)
		die("memory");
	s->fd = fd;
	s->upstream = upstream;
	proxy_note(s);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		die("epoll_ctl");
	return s;
}

int make_socket(const char *where, struct sockaddr_storage *addr,
		socklen_t *len)
{
	struct sockaddr_in *in = (struct sockaddr_in *)addr;
	struct sockaddr_un *un = (struct sockaddr_un *)addr;
	int fd;

	memset(addr, 0, sizeof *addr);
	if (where[0] == '@') {
		un->sun_family = AF_UNIX;
		*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				   strlen(where));
		memcpy(un->sun_path + 1, where + 1, strlen(where) - 1);
	} else {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)atoi(where));
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*len = sizeof *in;
	}
	fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	return fd;
}

bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done < 0 && errno == EAGAIN) {
			struct pollfd wait = {.fd = fd, .events = POLLOUT};

			poll(&wait, 1, -1);
		} else if (done < 0) {
			return false;
		} else {
			p += done;
			n -= (size_t)done;
		}
	}
	return true;
}

size_t message_size(const char *p, size_t n, size_t *ret_head)
{
	static const char name[] = "\r\ncontent-length:";
	const char *end = memmem(p, n, "\r\n\r\n", 4);

	if (!end)
		return 0;
	*ret_head = (size_t)(end - p) + 4;
	for (const char *at = p; (at = memchr(at, '\r', (size_t)(end - at)));
	     at++)
		if (strncasecmp(at, name, sizeof name - 1) == 0)
			return *ret_head +
			       strtoul(at + sizeof name - 1, NULL, 10);
	return *ret_head;
}

static void bury(struct side *s)
{
	proxy_forget(s);
	close(s->fd);
	s->fd = -1;
	s->next = dead;
	dead = s;
}

void end(struct side *s)
{
	if (s->upstream)
		die("the backend went away");
	if (s->peer) /* its answer would go nowhere */
		bury(s->peer);
	echo_forget(s);
	bury(s);
}

static void free_dead(void)
{
	while (dead) {
		struct side *s = dead;

		dead = s->next;
		free(s->message);
		free(s->gate);
		free(s);
	}
}

static int listener(const char *where)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int fd = make_socket(where, &addr, &len), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&addr, len) || listen(fd, 1024))
		die("listening");
	return fd;
}

static void on_readable(struct side *s)
{
	ssize_t n;

	if (s->fd < 0)
		return;
	n = recv(s->fd, buffer, sizeof buffer, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || !take(s, buffer, (size_t)n))
		end(s);
}

static void accept_all(int listening)
{
	int fd;

	while ((fd = accept4(listening, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		watch(fd, false);
}

static void serve(int listening,
		  bool (*take_with)(struct side *, char *, size_t))
{
	struct epoll_event events[EVENTS], e = {.events = EPOLLIN};
	int n;

	take = take_with;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || fcntl(listening, F_SETFL, O_NONBLOCK) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &e))
		die("epoll");
	for (;;) {
		n = epoll_wait(epoll, events, EVENTS,
			       proxy_is_gate() ? 1000 : echo_wait_ms());
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_readable(events[i].data.ptr);
			else
				accept_all(listening);
		}
		proxy_sweep(!n);
		if (echo_wait_ms() == 0)
			echo_run_batch();
		free_dead();
	}
}

/* argv: PORT [LIBRARY [MODEL INPUTS]...] */
static void serve_hops(int argc, char **argv)
{
	static char name[64];
	int front = listener(argv[0]), back;

	snprintf(name, sizeof name, "@soma-floor-%d", (int)getpid());
	back = listener(name);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(front);
		echo_open(argc - 1, argv + 1);
		serve(back, echo);
	}
	close(back);
	proxy_open(name, NULL);
	serve(front, pass);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "echo") == 0) {
		serve(listener(argv[2]), echo);
	} else if (argc == 4 && strcmp(argv[1], "proxy") == 0) {
		proxy_open(argv[3], NULL);
		serve(listener(argv[2]), pass);
	} else if (argc == 5 && strcmp(argv[1], "gate") == 0) {
		proxy_open(argv[3], argv[4]);
		serve(listener(argv[2]), pass);
	} else if (argc >= 3 && strcmp(argv[1], "hops") == 0) {
		serve_hops(argc - 2, argv + 2);
	} else if (argc == 6 && strcmp(argv[1], "loop") == 0) {
		call_loop(call_open(argv[2], argv[3], argv[4]), atof(argv[5]));
		return 0;
	}
	fprintf(stderr, "usage: floor echo PORT\n"
			"       floor proxy PORT BACKEND\n"
			"       floor gate PORT BACKEND LOG\n"
			"       floor hops PORT [LIBRARY [MODEL INPUTS]...]\n"
			"       floor loop LIBRARY MODEL INPUTS SECONDS\n");
	return 2;
}
