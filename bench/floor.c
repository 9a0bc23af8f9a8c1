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
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "floor_call.h"
#include "floor_gate.h"

enum {
	BUFFER = 128 * 1024,
	EVENTS = 256,
	HEAD_ROOM = 256,
	CALLS_MAX = 8,
	GATHER_MS = 5,
	SIDES_MAX = 65536,
	SMALL = 1024,
	IDLE_S = 75,
};

/* A connection of either side. */
struct side {
	int fd;
	bool upstream;
	struct side *peer; /* proxy: whom its bytes go to */
	struct side *next; /* in `pool` or `dead` */
	size_t left;	   /* of the message that is coming in */
	size_t have;	   /* echo: bytes of it so far */
	char *message;	   /* echo: a message that came in pieces */
	struct gate *gate; /* gate: of a client */
	uint64_t at;	   /* gate: when something came last */
};

static int epoll;
static bool gate;
static uint64_t gated_at; /* ns of CLOCK_MONOTONIC, the last message */
static struct side *sides[SIDES_MAX]; /* gate: by fd */
static int sides_end;
static const char *backend; /* NULL: this is the echo */
static char buffer[BUFFER];
static struct side *pool; /* idle connections to the backend, newest first */
static struct side *dead; /* freed when no event can speak of them */
static struct call *calls[CALLS_MAX];
static size_t n_calls;
static struct call *batch;		 /* what those in `rows` are for */
static struct side *rows[CALL_ROWS_MAX]; /* NULL: has gone since */
static size_t n_rows;
static double batch_due; /* seconds of CLOCK_MONOTONIC */

static void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void note_side(struct side *s)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof addr;

	if (s->fd >= SIDES_MAX)
		die("too many connections");
	sides[s->fd] = s;
	if (s->fd >= sides_end)
		sides_end = s->fd + 1;
	if (s->upstream)
		return;
	s->gate = calloc(1, sizeof *s->gate);
	if (!s->gate || getpeername(s->fd, (struct sockaddr *)&addr, &len))
		die("a client");
	snprintf(s->gate->peer, sizeof s->gate->peer, "127.0.0.1:%u",
		 ntohs(addr.sin_port));
}

static struct side *watch(int fd, bool upstream)
{
	struct side *s = calloc(1, sizeof *s);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
	int one = 1;

	if (!s)
		die("memory");
	s->fd = fd;
	s->upstream = upstream;
	if (gate)
		note_side(s);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		die("epoll_ctl");
	return s;
}

/* An open socket for PORT or @NAME, and its address. */
static int make_socket(const char *where, struct sockaddr_storage *addr,
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

/* All of it: a full socket is waited for. */
static bool send_all(int fd, const char *p, size_t n)
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

/* Bytes of the message whose head begins at p; 0 when that is not whole. */
static size_t message_size(const char *p, size_t n, size_t *ret_head)
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

/* --- echo -------------------------------------------------------------------
 */

/* The model that "POST /call/0 HTTP/1.1" names, of those at /call/: NULL for
 * another path. False if there is no such model. */
static bool named(const char *head, const char *at, struct call **ret)
{
	const char *path = strchr(head, ' ');
	size_t n = strlen(at);
	unsigned long which;

	*ret = NULL;
	if (!path || strncmp(path + 1, at, n) != 0)
		return true;
	which = strtoul(path + 1 + n, NULL, 10);
	if (which >= n_calls)
		return false;
	*ret = calls[which];
	return true;
}

static bool reply(struct side *s, const char *text, size_t n)
{
	static char out[BUFFER];
	int head;

	if (n > sizeof out - HEAD_ROOM)
		return false;
	head = snprintf(out, HEAD_ROOM,
			"HTTP/1.1 200 OK\r\nContent-Type: "
			"application/octet-stream\r\nContent-Length: "
			"%zu\r\n\r\n",
			n);
	if (text)
		memcpy(out + head, text, n);
	else
		memset(out + head, 'x', n);
	return send_all(s->fd, out, (size_t)head + n);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Whoever cannot be answered has gone, which its next event tells. */
static void run_batch(void)
{
	call_rows(batch, n_rows);
	for (size_t i = 0; i < n_rows; i++) {
		size_t n;
		const char *text = call_told(batch, i, &n);

		if (rows[i] && text)
			reply(rows[i], text, n);
	}
	n_rows = 0;
}

/* `head` names a model that "/batch/N/SIZE" has put there. */
static bool gather(struct side *s, struct call *c, const char *head,
		   const char *body, size_t n)
{
	size_t size = strtoul(strstr(head, "/batch/") + strlen("/batch/0/"),
			      NULL, 10);

	if (!size || size > CALL_ROWS_MAX || (n_rows && c != batch) ||
	    !call_put(c, n_rows, body, n))
		return false;
	if (!n_rows)
		batch_due = now() + GATHER_MS / 1e3;
	batch = c;
	rows[n_rows++] = s;
	if (n_rows >= size)
		run_batch();
	return true;
}

/* For how long epoll may sleep: 0 when the batch is due. */
static int gather_ms(void)
{
	double left;

	if (!n_rows)
		return -1;
	left = (batch_due - now()) * 1e3;
	return left > 0 ? (int)left + 1 : 0;
}

static bool answer(struct side *s, const char *p, size_t head, size_t size)
{
	struct call *called, *asked, *gathered;
	size_t body = size - head;
	const char *text = size > head ? p + head : NULL;

	if (!named(p, "/call/", &called) || !named(p, "/json/", &asked) ||
	    !named(p, "/batch/", &gathered))
		return false;
	if (gathered)
		return gather(s, gathered, p, p + head, body);
	if (called)
		call_once(called);
	if (asked) {
		if (!call_put(asked, 0, p + head, body))
			return false;
		call_rows(asked, 1);
		if (!(text = call_told(asked, 0, &body)))
			return false;
	}
	if (!body && strncmp(p, "GET /", 5) == 0)
		body = strtoul(p + 5, NULL, 10);
	return reply(s, text, body ? body : 2);
}

static bool echo(struct side *s, char *p, size_t n)
{
	size_t size, head = 0;

	if (s->have || !(size = message_size(p, n, &head)) || size > n) {
		if (!s->message && !(s->message = malloc(BUFFER)))
			die("memory");
		if (n > BUFFER - s->have)
			return false;
		memcpy(s->message + s->have, p, n);
		s->have += n;
		size = message_size(s->message, s->have, &head);
		if (!size || size > s->have)
			return true;
		s->have = 0;
		p = s->message;
	}
	return answer(s, p, head, size);
}

/* --- proxy ------------------------------------------------------------------
 */

static struct side *to_backend(void)
{
	struct sockaddr_storage addr;
	struct side *s = pool;
	socklen_t len;
	int fd;

	if (s) {
		pool = s->next;
		return s;
	}
	fd = make_socket(backend, &addr, &len);
	if (connect(fd, (struct sockaddr *)&addr, len))
		die("connecting to the backend");
	return watch(fd, true);
}

/* The head of a message and what came with it, small pieces at once. */
static bool send_gated(struct side *s, const char *p, size_t n, size_t head)
{
	static char out[BUFFER];
	size_t more = n - head, len;
	struct iovec iov[2];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t done;

	len = s->upstream
		      ? gate_answer(s->peer->gate, p, head, s->left, out,
				    &s->at)
		      : gate_request(s->gate, p, head, s->left, out, &s->at);
	gated_at = s->at;
	if (more <= SMALL) {
		memcpy(out + len, p + head, more);
		return send_all(s->peer->fd, out, len + more);
	}
	iov[0] = (struct iovec){out, len};
	iov[1] = (struct iovec){(char *)(uintptr_t)p + head, more};
	done = sendmsg(s->peer->fd, &msg, MSG_NOSIGNAL);
	if (done < (ssize_t)len)
		return false;
	return send_all(s->peer->fd, p + head + ((size_t)done - len),
			more - ((size_t)done - len));
}

static bool pass(struct side *s, const char *p, size_t n)
{
	size_t head = 0;

	if (!s->peer) {
		if (s->upstream)
			return false; /* an answer to nothing */
		s->peer = to_backend();
		s->peer->peer = s;
		s->peer->left = 0;
	}
	if (!s->left) {
		s->left = message_size(p, n, &head);
		if (!s->left) {
			fprintf(stderr, "floor: a head came in two pieces\n");
			exit(1);
		}
	}
	if (n > s->left || n > BUFFER - GATE_MORE)
		return false;
	if (!(gate && head ? send_gated(s, p, n, head)
			   : send_all(s->peer->fd, p, n)))
		return false;
	s->left -= n;
	if (s->upstream && !s->left) { /* answered: both are free */
		s->peer->peer = NULL;
		s->peer = NULL;
		s->next = pool;
		pool = s;
	}
	return true;
}

/* --- loop -------------------------------------------------------------------
 */

static void bury(struct side *s)
{
	if (gate)
		sides[s->fd] = NULL;
	close(s->fd);
	s->fd = -1;
	s->next = dead;
	dead = s;
}

static void end(struct side *s)
{
	if (s->upstream)
		die("the backend went away");
	if (s->peer) /* its answer would go nowhere */
		bury(s->peer);
	for (size_t i = 0; i < n_rows; i++)
		if (rows[i] == s)
			rows[i] = NULL;
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
	if (n <= 0 || !(backend ? pass(s, buffer, (size_t)n)
				: echo(s, buffer, (size_t)n)))
		end(s);
}

static void accept_all(int listening)
{
	int fd;

	while ((fd = accept4(listening, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		watch(fd, false);
}

/* Once a second: the log, and clients who say nothing. */
static void sweep(double at)
{
	static double due;

	if (at < due)
		return;
	due = at + 1;
	gate_flush();
	for (int i = 0; i < sides_end; i++)
		if (sides[i] && sides[i]->at && !sides[i]->upstream &&
		    !sides[i]->peer && at - (double)sides[i]->at / 1e9 > IDLE_S)
			end(sides[i]);
}

static void serve(int listening)
{
	struct epoll_event events[EVENTS], e = {.events = EPOLLIN};
	int n;

	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || fcntl(listening, F_SETFL, O_NONBLOCK) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &e))
		die("epoll");
	for (;;) {
		n = epoll_wait(epoll, events, EVENTS,
			       gate ? 1000 : gather_ms());
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_readable(events[i].data.ptr);
			else
				accept_all(listening);
		}
		if (gate)
			sweep(n ? (double)gated_at / 1e9 : now());
		else if (gather_ms() == 0)
			run_batch();
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
		for (int i = 2; i + 1 < argc && n_calls < CALLS_MAX; i += 2)
			calls[n_calls++] =
				call_open(argv[1], argv[i], argv[i + 1]);
		serve(back);
	}
	close(back);
	backend = name;
	serve(front);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "echo") == 0) {
		serve(listener(argv[2]));
	} else if (argc == 4 && strcmp(argv[1], "proxy") == 0) {
		backend = argv[3];
		serve(listener(argv[2]));
	} else if (argc == 5 && strcmp(argv[1], "gate") == 0) {
		backend = argv[3];
		gate = true;
		gate_open(argv[4]);
		serve(listener(argv[2]));
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
