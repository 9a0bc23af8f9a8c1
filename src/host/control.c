/* The control channel: docs/internals/control-channel.md. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"
#include "host/host.h"
#include "host/stages.h"

char *control_read_config(int fd, size_t *ret_len, struct err *err)
{
	cleanup_free char *text = mem_alloc(FRAME_PAYLOAD_MAX + 1);
	struct frame head = {0};
	struct iovec iov[2] = {{&head, sizeof head}, {text, FRAME_PAYLOAD_MAX}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	do {
		n = recvmsg(fd, &msg, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		err_sys(err, errno, "reading CONFIG");
		return NULL;
	}
	if (n < (ssize_t)sizeof head || head.type != FRAME_CONFIG ||
	    head.version != FRAME_VERSION) {
		err_set(err, E_INVALID,
			"the first frame of the control channel is no CONFIG "
			"of version %d",
			FRAME_VERSION);
		return NULL;
	}
	*ret_len = (size_t)n - sizeof head;
	return mem_take(&text);
}

void control_send(struct host *h, enum frame_type type, uint32_t arg,
		  const char *text, size_t len)
{
	struct frame head = {
		.type = (uint8_t)type, .version = FRAME_VERSION, .arg = arg};

	if (chan_is_open(&h->control))
		chan_send(&h->control, &head, sizeof head, text,
			  MIN(len, (size_t)FRAME_PAYLOAD_MAX), NULL, 0);
}

char *control_failure(const struct err *why)
{
	const char *code = why->code == E_NOTFOUND	  ? "missing_file"
			   : why->code == E_UNPROCESSABLE ? "bad_model"
			   : why->code == E_INVALID	  ? "bad_engine"
							  : "init_error";
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	size_t len;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "code", code);
	yyjson_mut_obj_add_str(doc, root, "message", why->msg);
	return json_write(doc, &len);
}

void control_failed(struct host *h, const struct err *why)
{
	cleanup_free char *text = control_failure(why);

	control_send(h, FRAME_FAILED, 0, text, strlen(text));
}

void control_stuck(struct host *h, uint32_t ms, const char *id)
{
	h->stuck_ms = MAX(ms, 1u);
	memcpy(h->stuck_id, id, strlen(id) + 1);
	control_send(h, FRAME_STUCK, ms, id, strlen(id));
}

void control_stages(void *data, const struct tally *t)
{
	struct host *h = data;

	buf_reset(&h->stages);
	tally_write(t, &h->stages);
	control_send(h, FRAME_STAGES, t->ready + t->predict, h->stages.data,
		     h->stages.len);
}

static void say_state(struct host *h)
{
	if (h->state == HOST_LOADING) {
		char text[sizeof h->loading];

		pthread_mutex_lock(&h->slots.lock);
		memcpy(text, h->loading, sizeof text);
		pthread_mutex_unlock(&h->slots.lock);
		if (text[0])
			control_send(h, FRAME_LOADING, 0, text, strlen(text));
		return;
	}
	control_send(h, FRAME_READY, (uint32_t)getpid(), h->facts.data,
		     h->facts.len);
	jobs_tell_batching(h);
	stages_forget(&h->slots);
	if (h->stuck_ms)
		control_send(h, FRAME_STUCK, h->stuck_ms, h->stuck_id,
			     strlen(h->stuck_id));
}

static void on_msg(struct chan *c, const void *data, size_t len, const int *fds,
		   size_t n_fds)
{
	struct host *h = CONTAINER_OF(c, struct host, control);
	struct frame head;

	while (n_fds)
		close(fds[--n_fds]);
	if (len < sizeof head)
		return;
	memcpy(&head, data, sizeof head);
	switch (head.type) {
	case FRAME_PING:
		control_send(h, FRAME_PONG, head.arg, NULL, 0);
		break;
	case FRAME_QUERY:
		say_state(h);
		break;
	case FRAME_STOP:
		host_stop(h, head.arg);
		break;
	default: /* of a newer daemon */
		break;
	}
}

static void on_end(struct chan *c)
{
	(void)c;
	/* Soma is gone, and nobody is left to say anything to. */
	_exit(0);
}

int control_open(struct host *h, int fd, struct err *err)
{
	int rc = chan_open(&h->control, &h->loop, fd, on_msg, on_end);

	return rc ? err_sys(err, -rc, "the control channel") : 0;
}
