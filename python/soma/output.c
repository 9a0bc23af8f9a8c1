/* What Python prints, line by line, each line in one piece and with the mark
 * of its request (docs/internals/control-channel.md, "Log lines"). */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { OPEN_LINES = 2 }; /* of stdout and stderr */

/* A line that is not ended yet, by thread: threads do not mix in a line. */
static __thread struct open_line {
	int fd;
	struct buf text;
} open_lines[OPEN_LINES];

/* The GIL is not held. 0 or an errno. */
static int write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EAGAIN) {
			struct pollfd on = {.fd = fd, .events = POLLOUT};

			poll(&on, 1, -1);
			continue;
		}
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

static void mark(struct buf *b, const char *id)
{
	buf_addc(b, 0x1e);
	buf_adds(b, id);
	buf_addc(b, 0x1f);
}

/* One at a time, so that lines longer than a pipe takes at once stay whole. */
static int put(int fd, const struct buf *b)
{
	static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
	int rc;

	if (!b->len)
		return 0;
	if (worker.forked) /* another thread may have held it at the fork */
		return write_all(fd, b->data, b->len);
	pthread_mutex_lock(&turn);
	rc = write_all(fd, b->data, b->len);
	pthread_mutex_unlock(&turn);
	return rc;
}

static struct open_line *line_of(int fd)
{
	struct open_line *l = &open_lines[fd == 2 ? 1 : 0];

	if (!l->text.max)
		buf_init(&l->text, LINE_MAX_BYTES);
	l->fd = fd;
	return l;
}

int output_write(int fd, const char *text, size_t len, const char *id)
{
	struct request *r = slot_current();
	struct open_line *l = line_of(fd);
	struct buf out;
	int rc;

	if (r)
		id = r->id;
	buf_init(&out, SIZE_MAX / 4);
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) + 1 : len;

		if (!end && l->text.len + n <= LINE_MAX_BYTES) {
			buf_add(&l->text, text, n);
			break;
		}
		if (!end) /* too long to wait for its end */
			n = MIN(n, LINE_MAX_BYTES);
		if (id)
			mark(&out, id);
		buf_add(&out, l->text.data, l->text.len);
		buf_reset(&l->text);
		buf_add(&out, text, n);
		if (!end)
			buf_addc(&out, '\n');
		text += n;
		len -= n;
	}
	Py_BEGIN_ALLOW_THREADS;
	rc = put(fd, &out);
	Py_END_ALLOW_THREADS;
	buf_fini(&out);
	return rc;
}

/* Of a request: with its mark, and ended. Of none: as it stands. */
static void let_go(struct open_line *l)
{
	struct request *r = slot_current();
	struct buf out;

	if (!l->text.len)
		return;
	buf_init(&out, SIZE_MAX / 4);
	if (r)
		mark(&out, r->id);
	buf_add(&out, l->text.data, l->text.len);
	if (r)
		buf_addc(&out, '\n');
	buf_reset(&l->text);
	Py_BEGIN_ALLOW_THREADS;
	put(l->fd, &out); /* a log that cannot be written is lost */
	Py_END_ALLOW_THREADS;
	buf_fini(&out);
}

void output_end_lines(void)
{
	for (int i = 0; i < OPEN_LINES; i++)
		let_go(&open_lines[i]);
}

void output_flush(int fd)
{
	/* A progress bar in a request is one line at its end. */
	if (!slot_current())
		let_go(line_of(fd));
}
