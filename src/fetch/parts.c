#include "fetch/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "core/json.h"
#include "core/mem.h"
#include "loop/file.h"
#include "store/blob.h"

enum { NOTE_BYTES_MAX = 16 << 20 };

static int cannot_write(const struct parts *p, int sys, struct failure *why)
{
	if (sys == ENOSPC || sys == EDQUOT)
		return failure_set(why, FAIL_NO_SPACE, true,
				   "no space is left in %s: make room on its "
				   "file system, or remove models that nobody "
				   "needs ('soma models rm')",
				   p->shelf->dir);
	if (sys == EROFS || sys == EACCES || sys == EPERM)
		return failure_set(why, FAIL_FORBIDDEN, false,
				   "cannot write in %s (%s): models are kept "
				   "there, so it must be writable by the user "
				   "who fetches",
				   p->shelf->dir, strerror(sys));
	return failure_set(why, FAIL_BROKEN, true,
			   "cannot write in %s (%s): look at the disk",
			   p->shelf->dir, strerror(sys));
}

static void read_boot(char out[64])
{
	cleanup_free char *text = NULL;
	size_t len;

	snprintf(out, 64, "unknown");
	if (file_read("/proc/sys/kernel/random/boot_id", 4096, &text, &len,
		      NULL) == 0)
		snprintf(out, 64, "%.*s", (int)strcspn(text, "\n"), text);
}

/* The lock may be of a folder that gc has just removed: then again. */
static int lock(struct parts *p, struct failure *why)
{
	cleanup_free char *path = mem_printf("%s/lock", p->dir);

	for (;;) {
		struct stat mine, there;
		int fd;

		if (mkdir(p->dir, 0700) != 0 && errno != EEXIST)
			return cannot_write(p, errno, why);
		fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
			  0600);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return cannot_write(p, errno, why);
		while (flock(fd, LOCK_EX) != 0)
			if (errno != EINTR) {
				int sys = errno;

				close(fd);
				return cannot_write(p, sys, why);
			}
		if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 &&
		    mine.st_ino == there.st_ino) {
			p->lock = fd;
			return 0;
		}
		close(fd);
	}
}

int parts_open(struct parts *p, struct shelf *shelf, const char *name,
	       struct failure *why)
{
	*p = (struct parts){.shelf = shelf, .lock = -1};
	p->dir = shelf_parts_path(shelf, name);
	read_boot(p->boot);
	if (lock(p, why) == 0)
		return 0;
	parts_close(p);
	return -1;
}

void parts_close(struct parts *p)
{
	if (p->lock >= 0)
		close(p->lock);
	p->lock = -1;
	free(mem_take(&p->dir));
}

void parts_clear(struct parts *p)
{
	/* The folder goes with its lock: who waits for that makes another. */
	file_remove_tree(p->dir, NULL);
}

char *parts_path(const struct parts *p, size_t n)
{
	return mem_printf("%s/%zu.part", p->dir, n);
}

static char *note_path(const struct parts *p, size_t n)
{
	return mem_printf("%s/%zu.json", p->dir, n);
}

void parts_drop(struct parts *p, size_t n)
{
	cleanup_free char *part = parts_path(p, n);
	cleanup_free char *note = note_path(p, n);

	unlink(note); /* first: a note is never ahead of the bytes */
	unlink(part);
}

/* ---- reading ---- */

static bool same_text(yyjson_val *root, const char *key, const char *text)
{
	return strcmp(json_str(root, key, ""), text ? text : "") == 0;
}

static bool is_of(yyjson_val *root, const struct source_file *f)
{
	int64_t size = f->size == SIZE_UNKNOWN ? -1 : (int64_t)f->size;

	return same_text(root, "path", f->path) &&
	       same_text(root, "url", f->url) &&
	       same_text(root, "etag", f->etag) &&
	       same_text(root, "sha256", f->sha256) &&
	       json_int(root, "size", -2) == size;
}

static void read_ranges(yyjson_val *list, uint64_t end, struct ranges *have)
{
	yyjson_val *row;
	size_t i, n;

	yyjson_arr_foreach(list, i, n, row)
	{
		yyjson_val *from = yyjson_arr_get(row, 0);
		yyjson_val *to = yyjson_arr_get(row, 1);

		if (yyjson_is_uint(from) && yyjson_is_uint(to) &&
		    yyjson_get_uint(to) <= end)
			ranges_add(have, yyjson_get_uint(from),
				   yyjson_get_uint(to));
	}
}

void parts_read(struct parts *p, size_t n, const struct source_file *f,
		struct part_note *ret)
{
	cleanup_free char *path = note_path(p, n);
	cleanup_free char *part = parts_path(p, n);
	cleanup_free char *text = NULL;
	cleanup_json yyjson_doc *doc = NULL;
	yyjson_val *root;
	const char *done;
	struct stat st;
	bool vouched;
	size_t len;

	*ret = (struct part_note){0};
	if (file_read(path, NOTE_BYTES_MAX, &text, &len, NULL) == 0)
		doc = json_parse(text, len, NULL);
	root = yyjson_doc_get_root(doc);
	done = json_str(root, "done", "");
	vouched = f->sha256[0] || same_text(root, "boot", p->boot);
	if (!is_of(root, f) || (!vouched && !blob_hash_ok(done))) {
		parts_drop(p, n);
		return;
	}
	if (blob_hash_ok(done))
		memcpy(ret->done, done, SHA256_HEX);
	if (vouched && stat(part, &st) == 0)
		read_ranges(yyjson_obj_get(root, "have"), (uint64_t)st.st_size,
			    &ret->have);
}

/* ---- writing ---- */

static char *note_text(const struct parts *p, const struct source_file *f,
		       const struct ranges *have, const char *done,
		       size_t *ret_len)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;
	int64_t size = f->size == SIZE_UNKNOWN ? -1 : (int64_t)f->size;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "path", f->path);
	yyjson_mut_obj_add_str(doc, root, "url", f->url);
	yyjson_mut_obj_add_int(doc, root, "size", size);
	yyjson_mut_obj_add_str(doc, root, "etag", f->etag ? f->etag : "");
	yyjson_mut_obj_add_str(doc, root, "sha256", f->sha256);
	yyjson_mut_obj_add_str(doc, root, "boot", p->boot);
	list = yyjson_mut_obj_add_arr(doc, root, "have");
	for (size_t i = 0; i < have->n; i++) {
		yyjson_mut_val *row = yyjson_mut_arr_add_arr(doc, list);

		yyjson_mut_arr_add_uint(doc, row, have->at[i].from);
		yyjson_mut_arr_add_uint(doc, row, have->at[i].to);
	}
	yyjson_mut_obj_add_str(doc, root, "done", done);
	return json_write(doc, ret_len);
}

/* Not synced: it is for a pull that is killed, not for a machine that is. */
int parts_write(struct parts *p, size_t n, const struct source_file *f,
		const struct ranges *have, const char *done,
		struct failure *why)
{
	cleanup_free char *path = note_path(p, n);
	cleanup_free char *temp = mem_printf("%s.new", path);
	cleanup_free char *text = NULL;
	size_t len;
	FILE *file;
	bool good;
	int fd;

	text = note_text(p, f, have, done, &len);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		  0600);
	if (fd < 0)
		return cannot_write(p, errno, why);
	file = fdopen(fd, "w");
	if (!file)
		abort();
	good = fwrite(text, 1, len, file) == len;
	good = fclose(file) == 0 && good;
	if (!good || rename(temp, path) != 0)
		return cannot_write(p, errno, why);
	return 0;
}
