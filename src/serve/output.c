/* output.c: what a process writes, line by line. */
#include <errno.h>
#include <string.h>

#include "core/mem.h"
#include "serve/process_parts.h"

enum { LINES_A_TURN = 256 };

static void on_log_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf);
static void on_log_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Takes the read end of its log pipe. 0 or -errno. */
int process__hear_log(struct process *p, int fd)
{
	int rc = 0;

	if (fd < 0)
		return -errno;
	uv_pipe_init(p->local->loop, &p->log, 0);
	p->log.data = p;
	p->handles++;
	p->log_open = true;
	uv_timer_init(p->local->loop, &p->later);
	p->later.data = p;
	p->handles++;
	p->later_open = true;
	rc = uv_pipe_open(&p->log, fd);
	if (rc) {
		close(fd);
		process__close_log(p);
		return rc;
	}
	return uv_read_start((uv_stream_t *)&p->log, on_log_alloc, on_log_read);
}

static void on_log_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	static _Thread_local char room[64 * 1024];

	(void)handle;
	(void)size;
	*buf = uv_buf_init(room, sizeof room);
}

/* "\x1e" id "\x1f" text: written while that request was handled. */
static void say_line(struct process *p, struct str line)
{
	struct str id = {NULL, 0};
	const char *end;

	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n && line.p[0] == 0x1e) {
		end = memchr(line.p, 0x1f, line.n);
		if (end) {
			id = (struct str){line.p + 1,
					  (size_t)(end - line.p) - 1};
			line.n -= (size_t)(end - line.p) + 1;
			line.p = end + 1;
		}
	}
	if (p->ops && p->ops->on_line)
		p->ops->on_line(p, line, id);
}

static void say_rest(struct process *p)
{
	if (p->line.len)
		say_line(p, (struct str){p->line.data, p->line.len});
	buf_reset(&p->line);
}

/* Splits into lines; one that is too long is broken. Ends after LINES_A_TURN,
 * so that one process cannot hold the loop, and when it is paused. Returns how
 * much was told. */
static size_t say_bytes(struct process *p, const char *data, size_t len)
{
	size_t at = 0;

	for (unsigned lines = 0; at < len && lines < LINES_A_TURN; lines++) {
		const char *from = data + at;
		const char *nl = memchr(from, '\n', len - at);
		size_t n = nl ? (size_t)(nl - from) : len - at;
		size_t room = PROCESS_LINE_MAX - p->line.len;

		if (p->log_paused && p->state != PROCESS_EXITED)
			break;
		if (nl && n <= room && !p->line.len) {
			say_line(p, (struct str){from, n});
			at += n + 1;
			continue;
		}
		at += MIN(n, room);
		buf_add(&p->line, from, MIN(n, room));
		if (n <= room && nl)
			at++;
		if ((n <= room && nl) || p->line.len == PROCESS_LINE_MAX)
			say_rest(p);
	}
	return at;
}

void process__maybe_gone(struct process *p);
static void on_later(uv_timer_t *timer);

void process__close_log(struct process *p)
{
	if (p->later_open) {
		p->later_open = false;
		uv_close((uv_handle_t *)&p->later, process__on_handle_closed);
	}
	if (!p->log_open)
		return;
	p->log_open = false;
	uv_close((uv_handle_t *)&p->log, process__on_handle_closed);
}

/* Tells some of what has been read, and decides how it goes on: on another
 * turn, when it is resumed, with more from the pipe, or not at all. */
static void log_step(struct process *p)
{
	bool dead = p->state == PROCESS_EXITED;

	if (p->rest.len)
		p->rest_at += say_bytes(p, p->rest.data + p->rest_at,
					p->rest.len - p->rest_at);
	if (!p->log_open)
		return;
	if (p->rest_at == p->rest.len) {
		buf_reset(&p->rest);
		p->rest_at = 0;
	}
	if (p->rest.len && (dead || !p->log_paused)) {
		uv_read_stop((uv_stream_t *)&p->log);
		uv_timer_start(&p->later, on_later, 0, 0);
	} else if (dead) {
		say_rest(p);
		process__close_log(p);
		process__maybe_gone(p);
	} else if (p->log_paused) {
		uv_read_stop((uv_stream_t *)&p->log);
	} else {
		uv_read_start((uv_stream_t *)&p->log, on_log_alloc,
			      on_log_read);
	}
}

void process__tell_rest(struct process *p)
{
	bool more = true;

	p->log_paused = false;
	while (more && p->rest_at < p->rest.len) {
		size_t n = say_bytes(p, p->rest.data + p->rest_at,
				     p->rest.len - p->rest_at);

		p->rest_at += n;
		more = n > 0;
	}
	say_rest(p);
}

static void on_later(uv_timer_t *timer)
{
	log_step(timer->data);
}

static void on_log_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct process *p = stream->data;

	if (n > 0) {
		buf_add(&p->rest, buf->base, (size_t)n);
		log_step(p);
		return;
	}
	if (n == 0)
		return;
	say_rest(p);
	process__close_log(p);
	process__maybe_gone(p);
}

void process_pause_log(struct process *p, bool paused)
{
	if (p->log_paused == paused || !p->log_open)
		return;
	p->log_paused = paused;
	/* Not at once: the owner may be in the middle of a line. */
	uv_timer_start(&p->later, on_later, 0, 0);
}

/* A dead process' pipe may be held open by a stray of its; what it had
 * written is there now, more is not waited for. */
void process__drain_log(struct process *p)
{
	char piece[16 * 1024];
	uv_os_fd_t fd;
	ssize_t n;

	uv_read_stop((uv_stream_t *)&p->log);
	for (int i = 0; i < 64; i++) {
		if (uv_fileno((uv_handle_t *)&p->log, &fd))
			break;
		n = read(fd, piece, sizeof piece);
		if (n <= 0 || buf_add(&p->rest, piece, (size_t)n))
			break;
	}
	log_step(p);
}
