/* shelf_tree.c: trees of links, seen whole or not at all. */
#include "store/shelf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "core/mem.h"
#include "loop/file.h"
#include "store/blob.h"
#include "store/shelf_parts.h"

#define DOING "putting a model together"

static int by_path(const void *a, const void *b)
{
	const struct shelf_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static void id_of(const struct shelf_file *sorted, size_t n,
		  char out[SHA256_HEX])
{
	struct sha256 sum;

	sha256_init(&sum);
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *line = mem_printf(
			"%s %llu %s\n", sorted[i].sha256,
			(unsigned long long)sorted[i].size, sorted[i].path);

		sha256_add(&sum, line, strlen(line));
	}
	sha256_hex(&sum, out);
}

/* ---- the tree ---- */

static int make_parents(const struct shelf *s, const char *root,
			const char *path, struct err *err)
{
	for (const char *at = strchr(path, '/'); at; at = strchr(at + 1, '/')) {
		cleanup_free char *dir =
			mem_printf("%s/%.*s", root, (int)(at - path), path);

		/* Umask clips what mkdir makes: the mode is set by hand. */
		if (mkdir(dir, 0755) == 0) {
			if (chmod(dir, 0755) != 0)
				return shelf__fail(s, errno, DOING, err);
		} else if (errno != EEXIST) {
			return shelf__fail(s, errno, DOING, err);
		}
	}
	return 0;
}

/* Where a file has as many links as it may, or is another user's. */
static int copy_in(const char *from, const char *to)
{
	cleanup_close int in = open(from, O_RDONLY | O_CLOEXEC);
	cleanup_close int out = -1;
	int rc;

	if (in < 0)
		return errno;
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		return errno;
	rc = -disk__copy(in, out);
	if (rc == 0 && (fchmod(out, 0444) != 0 || fsync(out) != 0))
		rc = errno;
	return rc;
}

static int link_in(const struct shelf *s, const char *root,
		   const struct shelf_file *f, struct err *err)
{
	cleanup_free char *from = shelf__file_path(s, f->sha256);
	cleanup_free char *to = mem_printf("%s/%s", root, f->path);
	int rc;

	if (!shelf_has(s, f->sha256, f->size))
		return err_set(err, E_NOTFOUND,
			       "the model's file '%s' (SHA-256 %s) is not on "
			       "the shelf: fetch the model again",
			       f->path, f->sha256);
	rc = make_parents(s, root, f->path, err);
	if (rc != 0)
		return rc;
	/* ENOENT, too, when another has just put the same file in its place. */
	for (int tries = 0; tries < 100; tries++) {
		rc = link(from, to) == 0 ? 0 : errno;
		if (rc != ENOENT || !shelf_has(s, f->sha256, f->size))
			break;
	}
	if (rc == EMLINK || rc == EPERM || rc == EOPNOTSUPP)
		rc = copy_in(from, to);
	if (rc == EEXIST || rc == EISDIR || rc == ENOTDIR)
		return err_set(err, E_INVALID,
			       "the model's file '%s' is listed twice, or both "
			       "as a file and as a folder",
			       f->path);
	return rc == 0 ? 0 : shelf__fail(s, rc, DOING, err);
}

/* Every folder of the tree: sorted files name each at least once. */
static int sync_folders(const char *root, const struct shelf_file *sorted,
			size_t n)
{
	const char *last = "";
	int rc = disk__sync_dir(root);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const char *path = sorted[i].path;

		for (const char *at = strchr(path, '/'); rc == 0 && at;
		     at = strchr(at + 1, '/')) {
			size_t len = (size_t)(at - path) + 1;
			cleanup_free char *dir = NULL;

			if (strncmp(last, path, len) == 0)
				continue; /* the file before is in it too */
			dir = mem_printf("%s/%.*s", root, (int)len, path);
			rc = disk__sync_dir(dir);
		}
		last = path;
	}
	return -rc;
}

struct whole {
	const struct shelf *s;
	const char *tree_path;
	size_t files;
};

/* A copy, where there could be no link, will do as well. */
static bool is_good(void *data, const struct shelf_file *f)
{
	struct whole *w = data;
	cleanup_free char *path = mem_printf("%s/%s", w->tree_path, f->path);
	struct stat st;

	w->files++;
	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == f->size && shelf__is_sound(&st);
}

bool shelf_whole(const struct shelf *s, const struct shelf_ref *r)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free char *path = shelf__tree_at(s, r->tree);
	struct whole w = {s, path, 0};

	return shelf__each_file(s, r->tree, is_good, &w) && w.files == r->files;
}

/* The tree at `made` was there before: it stays if its files are those of the
 * shelf, and changes places with `temp` where one was found bad. */
static int settle(const char *made, const char *temp, const struct shelf *s,
		  const struct shelf_file *sorted, size_t n)
{
	struct whole w = {s, made, 0};
	bool same = true;

	for (size_t i = 0; same && i < n; i++)
		same = is_good(&w, &sorted[i]);
	if (same)
		return 0;
	return renameat2(AT_FDCWD, temp, AT_FDCWD, made, RENAME_EXCHANGE) == 0
		       ? 0
		       : errno;
}

static int make_tree(const struct shelf *s, const struct shelf_file *sorted,
		     size_t n, const char *tree, struct err *err)
{
	cleanup_free char *above = mem_printf("%s/trees", s->at);
	cleanup_free char *temp = mem_printf("%s/" DISK_TEMP "XXXXXX", above);
	cleanup_free char *made = shelf__tree_at(s, tree);
	int rc = 0;

	if (!mkdtemp(temp))
		return shelf__fail(s, errno, DOING, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = link_in(s, temp, &sorted[i], err);
	if (rc == 0) {
		int sys = chmod(temp, 0755) == 0 ? 0 : errno;

		if (sys == 0)
			sys = sync_folders(temp, sorted, n);
		if (sys == 0 && rename(temp, made) != 0)
			sys = errno == ENOTEMPTY || errno == EEXIST
				      ? settle(made, temp, s, sorted, n)
				      : errno;
		if (sys == 0)
			sys = -disk__sync_dir(above);
		if (sys != 0)
			rc = shelf__fail(s, sys, DOING, err);
	}
	file_remove_tree(temp, NULL); /* nothing there if it was renamed */
	return rc;
}

/* ---- the manifest ---- */

static int write_manifest(const struct shelf *s,
			  const struct shelf_file *sorted, size_t n,
			  const char *tree, struct err *err)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *files;
	cleanup_free char *path = shelf__manifest_path(s, tree);
	cleanup_free char *name = mem_printf("%s.json", tree);
	cleanup_free char *text = NULL;
	cleanup_free char *there = NULL;
	size_t len, has;

	yyjson_mut_doc_set_root(doc, root);
	files = yyjson_mut_obj_add_arr(doc, root, "files");
	for (size_t i = 0; i < n; i++) {
		yyjson_mut_val *f = yyjson_mut_arr_add_obj(doc, files);

		yyjson_mut_obj_add_str(doc, f, "path", sorted[i].path);
		yyjson_mut_obj_add_uint(doc, f, "size", sorted[i].size);
		yyjson_mut_obj_add_str(doc, f, "sha256", sorted[i].sha256);
	}
	text = json_write(doc, &len);
	/* One that is damaged, by a disk or a hand, is mended here. */
	if (shelf__read(path, SHELF_JSON_MAX, &there, &has) == 0 &&
	    has == len && memcmp(there, text, len) == 0)
		return 0;
	return shelf__write(s, "trees", name, text, len, 0644, err);
}

bool shelf__each_file(const struct shelf *s, const char *tree,
		      bool (*each)(void *data, const struct shelf_file *f),
		      void *data)
{
	cleanup_free char *path = shelf__manifest_path(s, tree);
	cleanup_free char *text = NULL;
	cleanup_json yyjson_doc *doc = NULL;
	yyjson_val *files, *row;
	size_t len, i, n;

	if (shelf__read(path, SHELF_JSON_MAX, &text, &len) != 0)
		return false;
	doc = json_parse(text, len, NULL);
	files = yyjson_obj_get(yyjson_doc_get_root(doc), "files");
	if (!yyjson_is_arr(files))
		return false;
	yyjson_arr_foreach(files, i, n, row)
	{
		struct shelf_file f = {
			.path = json_str(row, "path", NULL),
			.sha256 = json_str(row, "sha256", NULL),
			.size = (uint64_t)json_int(row, "size", 0),
		};

		if (!project_path_ok(f.path) || !blob_hash_ok(f.sha256) ||
		    !each(data, &f))
			return false;
	}
	return true;
}

/* ---- publishing ---- */

/* JSON has no other text. */
static bool is_text(const char *text)
{
	return !text || str_is_utf8(str_of(text));
}

static int refuse_file(const struct shelf_file *f, struct err *err)
{
	cleanup_free char *shown = mem_strdup(f->path ? f->path : "");

	str_tidy(shown, false);
	return err_set(err, E_INVALID,
		       "'%.200s' cannot be a model's file: its path must be "
		       "relative, UTF-8, without '..' and without control "
		       "characters, its hash a SHA-256",
		       shown);
}

static int check_files(const struct shelf_file *files, size_t n,
		       struct err *err)
{
	if (n == 0)
		return err_set(err, E_INVALID,
			       "a model without files cannot be published");
	for (size_t i = 0; i < n; i++)
		/* Checked here and not only by who calls: it becomes a path,
		 * and the end of one of the lines that make the ID. */
		if (!project_path_ok(files[i].path) ||
		    !str_is_plain(str_of(files[i].path)) ||
		    !blob_hash_ok(files[i].sha256))
			return refuse_file(&files[i], err);
	return 0;
}

static int put_ref(const struct shelf *s, const char *name, const char *etag,
		   const struct shelf_file *files, size_t n, const char *tree,
		   struct err *err)
{
	cleanup_close int lock = -1;
	int64_t now = time(NULL);
	size_t url = strcspn(name, "\n");
	struct shelf_ref ref = {
		.url = mem_strndup(name, url),
		.etag = mem_strdup(etag ? etag : ""),
		.checked_at = now,
		.used_at = now,
		.files = (uint32_t)n,
	};
	int rc = shelf__lock(s, "refs/.lock", LOCK_EX, &lock, err);

	if (name[url])
		memcpy(ref.via, name + url + 1, SHA256_HEX);
	memcpy(ref.tree, tree, SHA256_HEX);
	for (size_t i = 0; i < n; i++)
		ref.bytes += files[i].size;
	if (rc == 0)
		rc = shelf__write_ref(s, &ref, err);
	shelf_ref_fini(&ref);
	return rc;
}

/* A name is a URL, or that with 64 digits below it. */
static bool is_name(const char *name)
{
	const char *end = strchr(name, '\n');

	return is_text(name) && (!end || blob_hash_ok(end + 1));
}

int shelf_publish(struct shelf *s, const char *name, const char *etag,
		  const struct shelf_file *files, size_t n,
		  char ret_tree[SHA256_HEX], struct err *err)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free struct shelf_file *sorted = mem_alloc(n * sizeof *sorted);
	cleanup_close int lock = -1;
	char tree[SHA256_HEX];
	int rc = check_files(files, n, err);

	if (rc == 0 && (!is_name(name) || !is_text(etag)))
		rc = err_set(err, E_INVALID,
			     "the URL of a model, or its ETag, is not UTF-8: "
			     "write other characters as %%XX");
	if (rc == 0)
		rc = shelf__lock(s, ".lock", LOCK_SH, &lock, err);
	if (rc != 0)
		return rc;
	memcpy(sorted, files, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_path);
	id_of(sorted, n, tree);
	rc = make_tree(s, sorted, n, tree, err);
	if (rc == 0)
		rc = write_manifest(s, sorted, n, tree, err);
	if (rc == 0)
		rc = put_ref(s, name, etag, files, n, tree, err);
	if (rc == 0)
		memcpy(ret_tree, tree, SHA256_HEX);
	return rc;
}
