/* shelf_verify.c: is every byte what it was? */
#include "store/shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "store/shelf_parts.h"

enum { PIECE_BYTES = 1 << 20 };

struct verify {
	const char *tree_path;
	char *piece;	      /* PIECE_BYTES */
	uint64_t done, total; /* bytes */
	bool (*progress)(void *data, uint64_t done, uint64_t total);
	void *data;
	char *bad; /* owned */
	int sys;   /* errno of what could not be read at all */
};

static int hash_file(struct verify *v, int fd, char out[SHA256_HEX])
{
	struct sha256 sum;
	ssize_t n;

	/* From the disk, where the cache need not tell the truth about it. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	sha256_init(&sum);
	while ((n = read(fd, v->piece, PIECE_BYTES)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int sys = errno;

			sha256_fini(&sum);
			return sys;
		}
		sha256_add(&sum, v->piece, (size_t)n);
		v->done += (uint64_t)n;
		if (v->progress && !v->progress(v->data, v->done, v->total)) {
			sha256_fini(&sum);
			return ECANCELED;
		}
	}
	sha256_hex(&sum, out);
	return 0;
}

static bool verify_file(void *data, const struct shelf_file *f)
{
	struct verify *v = data;
	cleanup_free char *path = mem_printf("%s/%s", v->tree_path, f->path);
	cleanup_close int fd =
		open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t before = v->done;
	char hex[SHA256_HEX];
	int rc = 0;

	if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
		v->sys = errno;
		return false;
	}
	if (fd >= 0)
		rc = hash_file(v, fd, hex);
	/* A disk that cannot read it back (EIO) has lost it. */
	if (rc != 0 && rc != EIO) {
		v->sys = rc;
		return false;
	}
	if (fd >= 0 && rc == 0 && v->done - before == f->size &&
	    strcmp(hex, f->sha256) == 0)
		return true;
	/* The mark: see shelf__is_sound. That it cannot be set where nothing
	 * can be written does not change the answer. */
	if (fd >= 0 && fchmod(fd, 0644) != 0)
		errno = 0;
	v->bad = mem_strdup(f->path);
	return false;
}

int shelf_verify(const struct shelf *s, const char *name,
		 bool (*progress)(void *data, uint64_t done, uint64_t total),
		 void *data, char **ret_bad, struct err *err)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free char *tree_path = NULL, *shown = NULL, *piece = NULL;
	struct verify v = {.progress = progress, .data = data};
	struct shelf_ref ref;
	bool all;
	int rc = shelf_find(s, name, &ref, err);

	if (rc != 0)
		return rc;
	v.tree_path = tree_path = shelf__tree_at(s, ref.tree);
	shown = shelf_tree_path(s, ref.tree);
	v.piece = piece = mem_alloc(PIECE_BYTES);
	v.total = ref.bytes;
	all = shelf__each_file(s, ref.tree, verify_file, &v);
	shelf_ref_fini(&ref);
	if (v.sys == ECANCELED)
		return err_set(err, E_CANCELED,
			       "reading the models was ended before it was "
			       "through: verify again");
	if (v.sys != 0)
		return err_sys(err, v.sys, "reading the model in %s", shown);
	if (!all && !v.bad)
		return err_set(err, E_IO,
			       "the list of the model's files, %s.json, cannot "
			       "be read: remove the model and fetch it again",
			       shown);
	*ret_bad = v.bad;
	return 0;
}
