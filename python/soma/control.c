/* The control channel: docs/internals/control-channel.md. */
#include "batch.h"
#include "stages.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { SEND_PATIENCE_MS = 5000 };

static ssize_t receive(struct frame *head, char *text, size_t size, int flags)
{
	struct iovec iov[2] = {{head, sizeof *head}, {text, size}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	do {
		n = recvmsg(worker.control, &msg, flags);
	} while (n < 0 && errno == EINTR);
	/* Soma is gone, and nobody is left to say anything to. */
	if (n == 0 || (n < 0 && errno != EAGAIN))
		_exit(0);
	return n;
}

bool control_send(enum frame_type type, uint32_t arg, const char *text,
		  size_t len, bool wait)
{
	struct frame head = {
		.type = (uint8_t)type, .version = FRAME_VERSION, .arg = arg};
	struct iovec iov[2] = {
		{&head, sizeof head},
		{(char *)(uintptr_t)text, MIN(len, (size_t)FRAME_PAYLOAD_MAX)}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	struct pollfd on = {.fd = worker.control, .events = POLLOUT};

	for (;;) {
		if (sendmsg(worker.control, &msg,
			    MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return true;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !wait ||
		    poll(&on, 1, SEND_PATIENCE_MS) == 0)
			return false;
	}
}

void control_ready(void)
{
	const char *facts = worker.facts ? worker.facts : "{}";

	control_send(FRAME_READY, (uint32_t)getpid(), facts, strlen(facts),
		     false);
}

char *control_config(size_t *ret_len)
{
	struct frame head = {0};
	ssize_t n;
	char *text;

	/* Its size first: a fork copies what it writes to. */
	do {
		n = recv(worker.control, NULL, 0, MSG_PEEK | MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	text = mem_alloc((size_t)MAX(n, (ssize_t)sizeof head) + 1);
	n = receive(&head, text, (size_t)MAX(n, 0), 0);
	if (n < (ssize_t)sizeof head || head.type != FRAME_CONFIG ||
	    head.version != FRAME_VERSION) {
		free(text);
		return NULL;
	}
	*ret_len = (size_t)n - sizeof head;
	text[*ret_len] = 0;
	return text;
}

static void say_state(void)
{
	if (worker.state == WORKER_LOADING) {
		if (worker.loading[0])
			control_send(FRAME_LOADING, 0, worker.loading,
				     strlen(worker.loading), false);
		return;
	}
	control_ready();
	stages_forget();
	batch_tell();
	if (worker.n_released)
		control_send(FRAME_SLOT_FREE, worker.n_released, NULL, 0,
			     false);
	for (unsigned i = 0; i < worker.n_slots; i++) {
		const struct slot *s = &worker.slots[i];

		if (s->stuck && s->request)
			control_send(
				FRAME_STUCK, (uint32_t)(now_ms() - s->since_ms),
				s->request->id, strlen(s->request->id), false);
	}
}

void control_event(void)
{
	static char text[FRAME_PAYLOAD_MAX]; /* nothing we take has any */
	struct frame head = {0};

	while (receive(&head, text, sizeof text, MSG_DONTWAIT) >= 0) {
		switch (head.type) {
		case FRAME_PING:
			control_send(FRAME_PONG, head.arg, NULL, 0, false);
			break;
		case FRAME_QUERY:
			say_state();
			break;
		case FRAME_STOP:
			poll_stop(head.arg);
			break;
		default: /* of a newer daemon */
			break;
		}
	}
}
