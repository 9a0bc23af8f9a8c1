/* transfer_hash.c: follows the bytes of a file as they come in order, while
 * they are in memory, and takes the file onto the shelf at its end. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "fetch/transfer_parts.h"

enum {
	/* It fits the processor's own cache: read and hashed from there. */
	HASH_BYTES = 256 << 10,
	FLUSH_BYTES = 8 << 20,
	COPY_BYTES = 16 << 20,
};

/* All of these are called with the lock held, and let go of it while they wait
 * for a disk. */

static void tell(struct transfer *t, struct item *it, enum item_news news)
{
	it->news = news;
	t->news = true;
	curl_multi_wakeup(t->multi);
}

static void tell_failed(struct transfer *t, struct item *it,
			const struct failure *why)
{
	it->why = mem_alloc(sizeof *it->why);
	*it->why = *why;
	tell(t, it, NEWS_FAILED);
}

/* ---- copying ---- */

static ssize_t copy_piece(int from, int to, uint64_t at, uint64_t end)
{
	off_t in = (off_t)at, out = (off_t)at;
	size_t len = (size_t)MIN(end - at, (uint64_t)COPY_BYTES);
	cleanup_free char *piece = NULL;
	ssize_t n;

	n = copy_file_range(from, &in, to, &out, len, 0);
	if (n > 0 || (n < 0 && (errno == ENOSPC || errno == EDQUOT)))
		return n;
	/* Between file systems, by some kernels. */
	piece = mem_alloc(HASH_BYTES);
	n = pread(from, piece, MIN(len, (size_t)HASH_BYTES), (off_t)at);
	return n <= 0 ? n : pwrite(to, piece, (size_t)n, (off_t)at);
}

/* False: it could not be copied, whatever the reason; it is fetched then. */
static bool copy(struct transfer *t, struct item *it)
{
	cleanup_close int from = open(it->local, O_RDONLY | O_CLOEXEC);
	uint64_t at = 0, end = it->size;
	struct stat st;
	bool shared;

	if (from < 0)
		return false;
	pthread_mutex_unlock(&t->lock);
	shared = ioctl(it->fd, FICLONE, from) == 0;
	pthread_mutex_lock(&t->lock);
	/* It may have become another since it was looked at. */
	if (shared && (fstat(it->fd, &st) != 0 || (uint64_t)st.st_size != end))
		return false;
	if (shared)
		at = end;
	while (at < end && !t->stop) {
		ssize_t n;

		pthread_mutex_unlock(&t->lock);
		n = copy_piece(from, it->fd, at, end);
		pthread_mutex_lock(&t->lock);
		if (n <= 0)
			return false;
		at += (uint64_t)n;
		ranges_add(&it->have, 0, at);
	}
	ranges_add(&it->have, 0, at);
	it->complete = at == end;
	return it->complete;
}

/* ---- hashing ---- */

static int hash_piece(const struct item *it, struct sha256 *sum, char *piece,
		      uint64_t at, size_t want)
{
	while (want > 0) {
		ssize_t n = pread(it->fd, piece, MIN(want, (size_t)HASH_BYTES),
				  (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		sha256_add(sum, piece, (size_t)n);
		at += (uint64_t)n;
		want -= (size_t)n;
	}
	return 0;
}

/* The disk begins to write what will have to be there at the end. */
static void flush(const struct item *it, uint64_t from, uint64_t to)
{
	uint64_t a = from / FLUSH_BYTES * FLUSH_BYTES;
	uint64_t b = to / FLUSH_BYTES * FLUSH_BYTES;

	if (a < b)
		sync_file_range(it->fd, (off_t)a, (off_t)(b - a),
				SYNC_FILE_RANGE_WRITE);
}

static void read_failed(struct transfer *t, struct item *it, int sys)
{
	struct failure why;

	failure_set(&why, FAIL_BROKEN, true,
		    "cannot read again what was written to %s (%s): look at "
		    "the disk",
		    t->job->shelf->dir, strerror(sys));
	tell_failed(t, it, &why);
}

/* True: it->sha256 is that of all of it. */
static bool hash(struct transfer *t, struct item *it, char *piece)
{
	unsigned generation = it->generation;
	struct sha256 sum;
	uint64_t at = 0;

	sha256_init(&sum);
	while (!(it->complete && at == it->size &&
		 it->generation == generation)) {
		uint64_t front = ranges_front(&it->have);
		size_t n;
		int rc;

		if (t->stop)
			break;
		if (it->generation != generation) {
			generation = it->generation;
			sha256_fini(&sum);
			sha256_init(&sum);
			it->hashed = at = 0;
			continue;
		}
		if (at >= front) {
			pthread_cond_wait(&t->more, &t->lock);
			continue;
		}
		n = (size_t)MIN(front - at, (uint64_t)(4 * HASH_BYTES));
		pthread_mutex_unlock(&t->lock);
		rc = hash_piece(it, &sum, piece, at, n);
		if (rc == 0)
			flush(it, at, at + n);
		pthread_mutex_lock(&t->lock);
		if (it->generation != generation)
			continue; /* it began anew meanwhile */
		if (rc != 0) {
			sha256_fini(&sum);
			read_failed(t, it, rc);
			return false;
		}
		it->hashed = at += n;
	}
	if (t->stop) {
		sha256_fini(&sum);
		return false;
	}
	sha256_hex(&sum, it->sha256);
	return true;
}

/* The note first: gc leaves what a note names. */
static void take(struct transfer *t, struct item *it)
{
	const struct transfer_job *job = t->job;
	cleanup_free char *path = parts_path(job->parts, it->n);
	struct err err = {0};
	struct failure why;
	int rc;

	pthread_mutex_unlock(&t->lock);
	rc = parts_write(job->parts, it->n, it->f, &it->have, it->sha256, &why);
	if (rc == 0 && shelf_take(job->shelf, path, it->sha256, &err) != 0)
		rc = failure_from(&why, &err);
	pthread_mutex_lock(&t->lock);
	if (rc == 0)
		tell(t, it, NEWS_TAKEN);
	else
		tell_failed(t, it, &why);
}

static void work_on(struct transfer *t, struct item *it, char *piece)
{
	if (it->local && !copy(t, it)) {
		if (!t->stop)
			tell(t, it, NEWS_NO_COPY);
		return;
	}
	if (!hash(t, it, piece))
		return;
	if (it->f->sha256[0] && strcmp(it->f->sha256, it->sha256) != 0)
		tell(t, it, NEWS_CORRUPT);
	else
		take(t, it);
}

/* The first that nobody is at. */
static struct item *pick(struct transfer *t)
{
	for (size_t i = t->oldest; i < t->reached; i++) {
		struct item *it = &t->items[i];

		if (it->state == ITEM_OPEN && !it->busy &&
		    it->news == NEWS_NONE)
			return it;
	}
	return NULL;
}

void *transfer__work(void *data)
{
	cleanup_free char *piece = mem_alloc(HASH_BYTES);
	struct transfer *t = data;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		struct item *it = pick(t);

		if (!it) {
			pthread_cond_wait(&t->more, &t->lock);
			continue;
		}
		it->busy = true;
		work_on(t, it, piece);
		it->busy = false;
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}
