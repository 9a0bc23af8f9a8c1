/* read.c: files into the page cache, several places of them at once. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "core/mem.h"
#include "warm/warm.h"

enum {
	THREADS = 4,
	WINDOW = 8 << 20, /* is read by one thread */
	/* What the kernel takes of one call for reading ahead where nobody has
	 * set it lower; more it leaves out without a word. */
	STEP = 128 << 10,
};

/* Where the next window begins. */
struct cursor {
	const struct warm_files *files;
	pthread_mutex_t lock;
	size_t file;
	uint64_t at;
	uint64_t bytes; /* that were read */
};

struct window {
	const struct warm_file *file;
	uint64_t at, end;
};

static bool next_window(struct cursor *c, struct window *ret)
{
	bool any;

	pthread_mutex_lock(&c->lock);
	any = c->file < c->files->n;
	if (any) {
		const struct warm_file *f = &c->files->items[c->file];

		*ret = (struct window){f, c->at, MIN(c->at + WINDOW, f->size)};
		c->at = ret->end;
		if (c->at >= f->size) {
			c->file++;
			c->at = 0;
		}
	}
	pthread_mutex_unlock(&c->lock);
	return any;
}

static void copy_through(int fd, const struct window *w)
{
	static _Thread_local char rest[STEP];

	for (uint64_t at = w->at; at < w->end; at += STEP)
		if (pread(fd, rest, sizeof rest, (off_t)at) <= 0)
			return;
}

/* Asks for all of it, and waits for its end: so no more is under way than each
 * thread has one of. Nothing is copied where the file system can do that. */
static void read_window(int fd, const struct window *w)
{
	char last;

	for (uint64_t at = w->at; at < w->end; at += STEP) {
		if (readahead(fd, (off64_t)at, STEP) == 0)
			continue;
		copy_through(fd, w);
		return;
	}
	if (pread(fd, &last, 1, (off_t)(w->end - 1)) < 0)
		return;
}

static void *run(void *data)
{
	struct cursor *c = data;
	struct window w;

	while (next_window(c, &w)) {
		cleanup_close int fd =
			open(w.file->path,
			     O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

		if (fd < 0)
			continue;
		read_window(fd, &w);
		pthread_mutex_lock(&c->lock);
		c->bytes += w.end - w.at;
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

uint64_t warm_read(const struct warm_files *f)
{
	struct cursor c = {.files = f, .lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t threads[THREADS];
	size_t n = 0;

	/* As many as there may be beside this one. */
	while (n < THREADS - 1 &&
	       pthread_create(&threads[n], NULL, run, &c) == 0)
		n++;
	run(&c);
	while (n)
		pthread_join(threads[--n], NULL);
	return c.bytes;
}
