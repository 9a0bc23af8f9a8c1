/* control.c: the control channel (docs/internals/control-channel.md). */
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/frame.h"

int control_receive_config(char **ret_json)
{
	static char data[FRAME_PAYLOAD_MAX + sizeof(struct frame) + 1];
	struct frame f;
	ssize_t n;

	do {
		n = recv(worker.control_fd, data, sizeof data - 1, 0);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)sizeof f)
		return -1;
	memcpy(&f, data, sizeof f);
	if (f.type != FRAME_CONFIG || f.version != FRAME_VERSION)
		return -1;
	*ret_json = mem_strndup(data + sizeof f, (size_t)n - sizeof f);
	return 0;
}

void control_send(uint8_t type, uint32_t arg, const char *payload)
{
	struct frame f = {.type = type, .version = FRAME_VERSION, .arg = arg};
	size_t len = payload ? strlen(payload) : 0;
	struct iovec iov[2] = {{&f, sizeof f},
			       {(void *)(uintptr_t)payload, len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	if (len > FRAME_PAYLOAD_MAX)
		iov[1].iov_len = FRAME_PAYLOAD_MAX;
	/* The daemon reads at once, and a new one asks again: what does not
	 * fit is not worth blocking for. */
	while (sendmsg(worker.control_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) <
		       0 &&
	       errno == EINTR)
		;
}

static void stop(uint32_t grace_ms)
{
	if (worker.stopping)
		return;
	worker.stopping = true;
	worker.stop_by_ns = now_ns() + (int64_t)grace_ms * 1000000;
	watch_listen();
	conn_close_idle();
	pthread_cond_broadcast(&worker.work);
}

void control_readable(void)
{
	char data[1024];
	struct frame f;
	ssize_t n;

	for (;;) {
		n = recv(worker.control_fd, data, sizeof data, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		/* Soma is gone, and nobody is left to answer to. */
		if (n <= 0)
			_exit(0);
		if (n < (ssize_t)sizeof f)
			continue;
		memcpy(&f, data, sizeof f);
		switch (f.type) {
		case FRAME_PING:
			control_send(FRAME_PONG, f.arg, NULL);
			break;
		case FRAME_QUERY:
			if (worker.ready)
				control_send(FRAME_READY, 0,
					     worker.ready_facts);
			else
				control_send(FRAME_LOADING, 0,
					     worker.last_loading);
			break;
		case FRAME_STOP:
			stop(f.arg);
			break;
		default:
			break;
		}
	}
}
