#include "store/blob.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "core/sha256.h"
#include "store/disk.h"

/* One piece of work at a time; everything that touches the disk is on the
 * pool. */
struct blob_write {
	uv_work_t work;
	uv_loop_t *loop; /* borrowed */
	char *dir;	 /* owned: DIR/blobs */
	char hash[SHA256_HEX];
	char *temp; /* owned; NULL until the file is there */
	int fd;
	struct sha256 sum;
	uint64_t size;
	struct err err; /* the first failure; nothing is written after it */

	bool busy, aborted; /* of the loop */
	char *piece;	    /* owned: what is being appended */
	size_t piece_len;
	void (*done)(void *data, const struct err *err);
	void *data;
};

static void append_work(uv_work_t *work);
static void on_appended(uv_work_t *work, int status);
static void commit_work(uv_work_t *work);
static void on_committed(uv_work_t *work, int status);
static void abort_work(uv_work_t *work);
static void on_aborted(uv_work_t *work, int status);

int blobs_init(struct blobs *b, uv_loop_t *loop, const char *dir,
	       struct err *err)
{
	char whole[PATH_MAX];
	int rc;

	*b = (struct blobs){.loop = loop};
	rc = disk__mkdir(dir, 0711, err);
	if (rc != 0)
		return rc;
	if (!realpath(dir, whole))
		return err_sys(err, errno, "cannot use directory %s", dir);
	b->dir = mem_strdup(whole);
	rc = disk__layout(b->dir, err);
	if (rc != 0)
		blobs_fini(b);
	return rc;
}

void blobs_fini(struct blobs *b)
{
	free(b->dir);
	b->dir = NULL;
}

bool blob_hash_ok(const char *hash)
{
	return hash && strspn(hash, "0123456789abcdef") == 64 &&
	       hash[64] == '\0';
}

char *disk__blob_path(const char *dir, const char *hash)
{
	assert(blob_hash_ok(hash));
	return mem_printf("%s/blobs/%.2s/%s", dir, hash, hash + 2);
}

bool blob_has(const struct blobs *b, const char *hash)
{
	cleanup_free char *path = NULL;

	if (!blob_hash_ok(hash))
		return false;
	path = disk__blob_path(b->dir, hash);
	return access(path, F_OK) == 0;
}

int blob_write_begin(struct blob_write **ret, struct blobs *b, const char *hash,
		     struct err *err)
{
	struct blob_write *w;

	if (!blob_hash_ok(hash))
		return err_set(err, E_INVALID,
			       "'%.80s' is not a SHA-256 in 64 lower-case hex "
			       "digits",
			       hash ? hash : "");
	w = mem_alloc(sizeof *w);
	w->loop = b->loop;
	w->dir = mem_strdup(b->dir);
	memcpy(w->hash, hash, SHA256_HEX);
	w->fd = -1;
	sha256_init(&w->sum);
	*ret = w;
	return 0;
}

static void start(struct blob_write *w, uv_work_cb work, uv_after_work_cb after)
{
	int rc;

	assert(!w->busy);
	w->busy = true;
	w->work.data = w;
	rc = uv_queue_work(w->loop, &w->work, work, after);
	assert(rc == 0);
}

static void destroy(struct blob_write *w)
{
	assert(w->fd < 0);
	sha256_fini(&w->sum);
	free(w->piece);
	free(w->temp);
	free(w->dir);
	free(w);
}

/* Ends what this write has on the disk, if anything. */
static void discard(struct blob_write *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	if (w->temp)
		unlink(w->temp);
	free(mem_take(&w->temp));
}

void blob_write_append(struct blob_write *w, const void *data, size_t len,
		       void (*done)(void *data, const struct err *err),
		       void *data_ptr)
{
	assert(!w->aborted && !w->piece);
	w->piece = mem_grow(NULL, len);
	if (len > 0)
		memcpy(w->piece, data, len);
	w->piece_len = len;
	w->done = done;
	w->data = data_ptr;
	start(w, append_work, on_appended);
}

static int open_temp(struct blob_write *w)
{
	char *path = mem_printf("%s/blobs/" DISK_TEMP "XXXXXX", w->dir);

	w->fd = mkostemp(path, O_CLOEXEC);
	if (w->fd < 0) {
		disk__fail(&w->err, errno, w->dir, "storing a file");
		free(path);
		return w->err.code;
	}
	w->temp = path;
	return 0;
}

static void append_work(uv_work_t *work)
{
	struct blob_write *w = work->data;
	int rc;

	if (w->err.code)
		return;
	if (w->fd < 0 && open_temp(w) != 0)
		return;
	sha256_add(&w->sum, w->piece, w->piece_len);
	w->size += w->piece_len;
	rc = disk__write(w->fd, w->piece, w->piece_len);
	if (rc != 0) {
		disk__fail(&w->err, -rc, w->dir, "storing a file");
		discard(w); /* gives a full disk its room back at once */
	}
}

static void on_appended(uv_work_t *work, int status)
{
	struct blob_write *w = work->data;

	(void)status;
	w->busy = false;
	free(mem_take(&w->piece));
	if (w->aborted) {
		start(w, abort_work, on_aborted);
		return;
	}
	w->done(w->data, w->err.code ? &w->err : NULL);
}

void blob_write_commit(struct blob_write *w,
		       void (*done)(void *data, const struct err *err),
		       void *data_ptr)
{
	assert(!w->aborted);
	w->done = done;
	w->data = data_ptr;
	start(w, commit_work, on_committed);
}

static int rename_temp(struct blob_write *w)
{
	cleanup_free char *path = disk__blob_path(w->dir, w->hash);
	cleanup_free char *shelf = mem_printf("%s/blobs/%.2s", w->dir, w->hash);
	cleanup_free char *blobs = mem_printf("%s/blobs", w->dir);
	int rc;

	if (fsync(w->fd) != 0)
		return disk__fail(&w->err, errno, w->dir, "storing a file");
	if (mkdir(shelf, 0700) == 0) {
		rc = disk__sync_dir(blobs);
		if (rc != 0)
			return disk__fail(&w->err, -rc, w->dir,
					  "storing a file");
	} else if (errno != EEXIST) {
		return disk__fail(&w->err, errno, w->dir, "storing a file");
	}
	if (rename(w->temp, path) != 0)
		return disk__fail(&w->err, errno, w->dir, "storing a file");
	free(mem_take(&w->temp));
	rc = disk__sync_dir(shelf);
	if (rc != 0)
		return disk__fail(&w->err, -rc, w->dir, "storing a file");
	return 0;
}

static void commit_work(uv_work_t *work)
{
	struct blob_write *w = work->data;
	char hex[SHA256_HEX];

	if (w->err.code == 0 && (w->fd >= 0 || open_temp(w) == 0)) {
		sha256_hex(&w->sum, hex);
		if (memcmp(hex, w->hash, SHA256_HEX) != 0)
			err_set(&w->err, E_UNPROCESSABLE,
				"the %llu bytes received have the SHA-256 %s, "
				"not %s: the file changed while it was sent; "
				"deploy again",
				(unsigned long long)w->size, hex, w->hash);
		else
			rename_temp(w);
	}
	discard(w);
}

static void on_committed(uv_work_t *work, int status)
{
	struct blob_write *w = work->data;

	(void)status;
	w->done(w->data, w->err.code ? &w->err : NULL);
	destroy(w);
}

void blob_write_abort(struct blob_write *w)
{
	assert(!w->aborted);
	w->aborted = true;
	if (!w->busy)
		start(w, abort_work, on_aborted);
}

static void abort_work(uv_work_t *work)
{
	discard(work->data);
}

static void on_aborted(uv_work_t *work, int status)
{
	(void)status;
	destroy(work->data);
}
