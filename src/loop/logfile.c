#include "loop/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/log.h"

void logfile_init(struct logfile *f, uv_loop_t *loop, char *path_take,
		  size_t file_bytes, unsigned files)
{
	*f = (struct logfile){.loop = loop,
			      .path = path_take,
			      .file_bytes = file_bytes,
			      .files = files};
	buf_init(&f->pending, LOGFILE_MAX);
	buf_init(&f->writing, LOGFILE_MAX);
}

/* a -> a.1 -> a.2 ...; the oldest falls off. */
static void rotate(const struct logfile *f)
{
	for (unsigned i = f->files - 1; i >= 1; i--) {
		cleanup_free char *from =
			i == 1 ? mem_strdup(f->path)
			       : mem_printf("%s.%u", f->path, i - 1);
		cleanup_free char *to = mem_printf("%s.%u", f->path, i);

		rename(from, to);
	}
}

/* On the pool. */
static void on_write(uv_work_t *work)
{
	struct logfile *f = work->data;
	const char *p = f->writing.data;
	size_t left = f->writing.len;
	cleanup_close int fd = -1;
	struct stat st;

	f->result = 0;
	if (stat(f->path, &st) == 0 && (size_t)st.st_size > f->file_bytes)
		rotate(f);
	fd = open(f->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		f->result = -errno;
		return;
	}
	while (left) {
		ssize_t n = write(fd, p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			f->result = -errno;
			return;
		}
		p += n;
		left -= (size_t)n;
	}
}

static void set_full(struct logfile *f, bool full)
{
	if (f->full == full)
		return;
	f->full = full;
	if (f->on_full && !f->closing)
		f->on_full(f, full);
}

static void remove_files(const struct logfile *f)
{
	unlink(f->path);
	for (unsigned i = 1; i < f->files; i++) {
		cleanup_free char *path = mem_printf("%s.%u", f->path, i);

		unlink(path);
	}
}

static void maybe_closed(struct logfile *f)
{
	if (!f->closing || f->busy)
		return;
	if (f->remove)
		remove_files(f);
	buf_fini(&f->pending);
	buf_fini(&f->writing);
	free(f->path);
	f->on_closed(f);
}

static void on_written(uv_work_t *work, int status)
{
	struct logfile *f = work->data;

	(void)status;
	f->busy = false;
	buf_fini(&f->writing);
	if (f->result && !f->complained)
		log_warn(LOG_F(F_S("file", f->path)),
			 "cannot write: %s; lines are lost until it can",
			 strerror(-f->result));
	f->complained = f->result != 0;
	if (f->closing || f->pending.len >= LOGFILE_FLUSH)
		logfile_flush(f);
	set_full(f, f->pending.len > LOGFILE_FULL);
	maybe_closed(f);
}

void logfile_flush(struct logfile *f)
{
	struct buf swap = f->writing;

	if (f->busy || !f->pending.len)
		return;
	f->writing = f->pending;
	f->pending = swap;
	f->work.data = f;
	f->busy = true;
	if (uv_queue_work(f->loop, &f->work, on_write, on_written))
		f->busy = false;
}

void logfile_add(struct logfile *f, const void *data, size_t len)
{
	if (f->closing)
		return;
	/* Past the maximum the file has a gap; the daemon goes on. */
	buf_add(&f->pending, data, len);
	if (f->pending.len >= LOGFILE_FLUSH)
		logfile_flush(f);
	set_full(f, f->pending.len > LOGFILE_FULL);
}

void logfile_close(struct logfile *f, void (*on_closed)(struct logfile *f))
{
	f->on_closed = on_closed;
	logfile_flush(f);
	f->closing = true;
	maybe_closed(f);
}
