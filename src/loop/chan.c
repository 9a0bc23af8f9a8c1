#include "loop/chan.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/mem.h"

/* More than this in a channel whose other end is dead is written by a stray. */
enum { DRAIN_MOST = 1024, RETRY_MS = 10 };

struct message {
	struct list link;
	size_t len;
	size_t n_fds;
	int fds[CHAN_FDS_MAX]; /* owned copies */
	char data[];
};

int chan_pair(int ret_fds[2])
{
	int fds[2], flags;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	flags = fcntl(fds[0], F_GETFL);
	if (flags < 0 || fcntl(fds[0], F_SETFL, flags | O_NONBLOCK) < 0) {
		int rc = -errno;

		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

/* 0 or -errno. */
static int send_now(int fd, const struct iovec *iov, size_t n_iov,
		    const int *fds, size_t n_fds)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * CHAN_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
			     .msg_iovlen = n_iov};
	ssize_t n;

	if (n_fds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof control);
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void message_free(struct message *m)
{
	list_remove(&m->link);
	for (size_t i = 0; i < m->n_fds; i++)
		close(m->fds[i]);
	free(m);
}

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_retry(uv_timer_t *timer);

/* The kernel is short of memory, or too many descriptors are on their way. A
 * poll would not wait for that. */
static bool passes(int rc)
{
	return rc == -ENOBUFS || rc == -ENOMEM || rc == -ETOOMANYREFS;
}

static void watch(struct chan *c)
{
	bool wants = !list_empty(&c->queue) &&
		     !uv_is_active((uv_handle_t *)&c->retry);

	uv_poll_start(&c->poll, UV_READABLE | (wants ? UV_WRITABLE : 0),
		      on_poll);
}

static void flush(struct chan *c)
{
	while (!list_empty(&c->queue)) {
		struct message *m =
			LIST_ENTRY(c->queue.next, struct message, link);
		struct iovec iov = {m->data, m->len};
		int rc = send_now(c->fd, &iov, 1, m->fds, m->n_fds);

		if (rc == -EAGAIN)
			break;
		if (passes(rc)) {
			uv_timer_start(&c->retry, on_retry, RETRY_MS, 0);
			break;
		}
		c->queued -= m->len;
		message_free(m);
	}
	watch(c);
}

static void on_retry(uv_timer_t *timer)
{
	struct chan *c = CONTAINER_OF(timer, struct chan, retry);

	if (!c->ended)
		flush(c);
}

static void enqueue(struct chan *c, const struct iovec *iov, const int *fds,
		    size_t n_fds)
{
	size_t len = iov[0].iov_len + iov[1].iov_len;
	struct message *m = mem_alloc(sizeof *m + len);

	m->len = len;
	memcpy(m->data, iov[0].iov_base, iov[0].iov_len);
	if (iov[1].iov_len)
		memcpy(m->data + iov[0].iov_len, iov[1].iov_base,
		       iov[1].iov_len);
	for (size_t i = 0; i < n_fds; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (copy < 0) {
			/* Goes without: the other end counts them. */
			while (m->n_fds)
				close(m->fds[--m->n_fds]);
			break;
		}
		m->fds[m->n_fds++] = copy;
	}
	list_push_back(&c->queue, &m->link);
	c->queued += len;
	watch(c);
}

void chan_send(struct chan *c, const void *head, size_t head_len,
	       const void *payload, size_t len, const int *fds, size_t n_fds)
{
	struct iovec iov[2] = {
		{(void *)(uintptr_t)head, head_len},
		{(void *)(uintptr_t)payload, len},
	};
	int rc = -EAGAIN; /* behind what waits */

	assert(n_fds <= CHAN_FDS_MAX && head_len + len <= CHAN_MSG_MAX);
	if (c->fd < 0 || c->ended)
		return;
	if (list_empty(&c->queue))
		rc = send_now(c->fd, iov, 2, fds, n_fds);
	if (passes(rc))
		uv_timer_start(&c->retry, on_retry, RETRY_MS, 0);
	if (rc == -EAGAIN || passes(rc))
		enqueue(c, iov, fds, n_fds);
}

/* Collects the descriptors of a received message: all or none. */
static size_t take_fds(struct msghdr *msg, int *fds)
{
	struct cmsghdr *c;
	size_t n_fds = 0;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds + n_fds, CMSG_DATA(c), n * sizeof(int));
		n_fds += n;
	}
	/* Our table was full: which of them are missing cannot be told. */
	if (msg->msg_flags & MSG_CTRUNC)
		while (n_fds)
			close(fds[--n_fds]);
	return n_fds;
}

static void ended(struct chan *c)
{
	if (c->ended || c->fd < 0)
		return;
	c->ended = true;
	uv_poll_stop(&c->poll);
	uv_timer_stop(&c->retry);
	c->on_end(c);
}

/* One message, told. 1, 0 at the end, or -errno. */
static int hear_one(struct chan *c, char *data, size_t size)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * CHAN_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {data, size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof control.room};
	int fds[CHAN_FDS_MAX];
	size_t n_fds;
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return n < 0 ? -errno : 0;
	n_fds = take_fds(&msg, fds);
	if (msg.msg_flags & MSG_TRUNC) {
		while (n_fds)
			close(fds[--n_fds]);
		return -EMSGSIZE;
	}
	c->on_msg(c, data, (size_t)n, fds, n_fds);
	return 1;
}

/* What is there, at most `most` messages. False: the end was reached. An other
 * end that closed with something unread makes an error that comes before what
 * it had sent: that is still to be heard. */
static bool hear(struct chan *c, char *data, size_t size, unsigned most)
{
	bool reset = false;

	while (most && c->fd >= 0 && !c->ended) {
		int rc = hear_one(c, data, size);

		if (rc == 1)
			most--;
		else if (rc == -ECONNRESET && !reset)
			reset = true;
		else if (rc != -EINTR)
			return rc == -EAGAIN && !reset;
	}
	return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct chan *c = CONTAINER_OF(poll, struct chan, poll);
	static _Thread_local char data[CHAN_MSG_MAX];
	/* A burst at most, so that one channel cannot hold the loop; all there
	 * is when nobody can add to it. */
	unsigned most = status < 0 ? UINT_MAX : 64;

	if (status >= 0 && (events & UV_WRITABLE))
		flush(c);
	if (c->fd < 0 || c->ended)
		return;
	if (!hear(c, data, sizeof data, most) || status < 0)
		ended(c);
}

void chan_drain(struct chan *c)
{
	/* Memory of its own: this may be called from another channel's
	 * message. */
	cleanup_free char *data = NULL;

	if (c->fd < 0 || c->ended)
		return;
	data = mem_alloc(CHAN_MSG_MAX);
	hear(c, data, CHAN_MSG_MAX, DRAIN_MOST);
}

int chan_open(struct chan *c, uv_loop_t *loop, int fd, chan_on_msg *on_msg,
	      chan_on_end *on_end)
{
	int rc;

	*c = (struct chan){.fd = fd, .on_msg = on_msg, .on_end = on_end};
	list_init(&c->queue);
	rc = uv_poll_init(loop, &c->poll, fd);
	if (rc) {
		c->fd = -1;
		return rc;
	}
	uv_timer_init(loop, &c->retry);
	watch(c);
	return 0;
}

bool chan_is_open(const struct chan *c)
{
	return c->fd >= 0;
}

static void maybe_closed(struct chan *c)
{
	if (--c->handles == 0 && c->on_closed)
		c->on_closed(c);
}

static void on_poll_closed(uv_handle_t *handle)
{
	maybe_closed(CONTAINER_OF(handle, struct chan, poll));
}

static void on_retry_closed(uv_handle_t *handle)
{
	maybe_closed(CONTAINER_OF(handle, struct chan, retry));
}

void chan_close(struct chan *c, void (*on_closed)(struct chan *c))
{
	assert(c->fd >= 0);
	c->on_closed = on_closed;
	c->ended = true;
	uv_poll_stop(&c->poll);
	while (!list_empty(&c->queue))
		message_free(LIST_ENTRY(c->queue.next, struct message, link));
	close(c->fd);
	c->fd = -1;
	c->handles = 2;
	uv_close((uv_handle_t *)&c->poll, on_poll_closed);
	uv_close((uv_handle_t *)&c->retry, on_retry_closed);
}
