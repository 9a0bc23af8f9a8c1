/* floor_proxy.c: passes messages on and back. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "floor.h"
#include "floor_gate.h"

enum { SIDES_MAX = 65536, SMALL = 1024 };

static const uint64_t SECOND = 1000000000, IDLE = 75 * UINT64_C(1000000000);

static const char *backend;
static struct side *pool; /* idle connections to the backend, newest first */
static bool gate;
static uint64_t gated_at; /* ns of CLOCK_MONOTONIC, the last message */
static struct side *sides[SIDES_MAX]; /* gate: by fd */
static int sides_end;

void proxy_open(const char *to, const char *log)
{
	backend = to;
	gate = log;
	if (log)
		gate_open(log);
}

bool proxy_is_gate(void)
{
	return gate;
}

void proxy_note(struct side *s)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof addr;

	if (!gate)
		return;
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

void proxy_forget(const struct side *s)
{
	if (gate)
		sides[s->fd] = NULL;
}

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

	if (head > BUFFER - GATE_MORE - SMALL)
		return false;
	len = s->upstream
		      ? gate_answer(s->peer->gate, p, head, s->left, out,
				    &s->at)
		      : gate_request(s->gate, p, head, s->left, out, &s->at);
	if (!len)
		return false;
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

bool pass(struct side *s, char *p, size_t n)
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
	if (n > s->left)
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

void proxy_sweep(bool slept)
{
	static uint64_t due;
	uint64_t at = slept ? now_ns() : gated_at;

	if (!gate || at < due)
		return;
	due = at + SECOND;
	gate_flush();
	for (int i = 0; i < sides_end; i++)
		if (sides[i] && sides[i]->at && !sides[i]->upstream &&
		    !sides[i]->peer && at > sides[i]->at + IDLE)
			end(sides[i]);
}
