/* shelf_ref.c: which tree a URL is, and when it was looked at. */
#include "store/shelf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "core/mem.h"
#include "loop/file.h"
#include "store/blob.h"
#include "store/shelf_parts.h"

enum { REF_JSON_MAX = 1 << 20 };

/* No URL has a line's end in it. */
char *shelf_name(const char *url, const char *via)
{
	return via && *via ? mem_printf("%s\n%s", url, via) : mem_strdup(url);
}

char *shelf_ref_name(const struct shelf_ref *r)
{
	return shelf_name(r->url, r->via);
}

static char *file_of(const char *name)
{
	char key[SHA256_HEX];

	shelf__key(name, key);
	return mem_printf("%s.json", key);
}

static char *etags_of(const char *name)
{
	char key[SHA256_HEX];

	shelf__key(name, key);
	return mem_printf("%s.etags", key);
}

void shelf_ref_fini(struct shelf_ref *r)
{
	free(mem_take(&r->url));
	free(mem_take(&r->etag));
}

int shelf__write_ref(const struct shelf *s, const struct shelf_ref *r,
		     struct err *err)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	cleanup_free char *name = shelf_ref_name(r), *file = file_of(name);
	cleanup_free char *text = NULL;
	size_t len;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "url", r->url);
	if (*r->via)
		yyjson_mut_obj_add_str(doc, root, "via", r->via);
	yyjson_mut_obj_add_str(doc, root, "tree", r->tree);
	yyjson_mut_obj_add_str(doc, root, "etag", r->etag);
	yyjson_mut_obj_add_int(doc, root, "checked_at", r->checked_at);
	yyjson_mut_obj_add_int(doc, root, "used_at", r->used_at);
	yyjson_mut_obj_add_uint(doc, root, "bytes", r->bytes);
	yyjson_mut_obj_add_uint(doc, root, "files", r->files);
	text = json_write(doc, &len);
	return shelf__write(s, "refs", file, text, len, 0600, err);
}

/* False where the file is not a ref whose tree is there. */
static bool read_ref(const struct shelf *s, const char *name,
		     struct shelf_ref *ret)
{
	cleanup_free char *path = mem_printf("%s/refs/%s", s->at, name);
	cleanup_free char *text = NULL, *tree_path = NULL;
	cleanup_json yyjson_doc *doc = NULL;
	yyjson_val *root;
	const char *url, *via, *tree;
	struct stat st;
	size_t len;

	if (shelf__read(path, REF_JSON_MAX, &text, &len) != 0)
		return false;
	doc = json_parse(text, len, NULL);
	root = yyjson_doc_get_root(doc);
	url = json_str(root, "url", NULL);
	via = json_str(root, "via", "");
	tree = json_str(root, "tree", NULL);
	if (!url || !blob_hash_ok(tree) || (*via && !blob_hash_ok(via)))
		return false;
	tree_path = shelf__tree_at(s, tree);
	if (lstat(tree_path, &st) != 0 || !S_ISDIR(st.st_mode))
		return false;
	*ret = (struct shelf_ref){
		.url = mem_strdup(url),
		.etag = mem_strdup(json_str(root, "etag", "")),
		.checked_at = json_int(root, "checked_at", 0),
		.used_at = json_int(root, "used_at", 0),
		.bytes = (uint64_t)json_int(root, "bytes", 0),
		.files = (uint32_t)json_int(root, "files", 0),
	};
	memcpy(ret->tree, tree, SHA256_HEX);
	memcpy(ret->via, via, strlen(via) + 1);
	return true;
}

int shelf_find(const struct shelf *s, const char *name, struct shelf_ref *ret,
	       struct err *err)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free char *file = file_of(name);

	if (!read_ref(s, file, ret))
		return err_set(err, E_NOTFOUND,
			       "the model is not there: fetch it with 'soma "
			       "models pull'");
	return 0;
}

/* ---- what its files were known by ---- */

static int by_path(const void *a, const void *b)
{
	const struct shelf_etag *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static char *etags_text(const char *tree, const struct shelf_etag *sorted,
			size_t n, size_t *ret_len)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "tree", tree);
	list = yyjson_mut_obj_add_arr(doc, root, "etags");
	for (size_t i = 0; i < n; i++) {
		const char *etag = sorted[i].etag;

		if (etag && str_is_utf8(str_of(etag)))
			yyjson_mut_arr_add_str(doc, list, etag);
		else
			yyjson_mut_arr_add_null(doc, list);
	}
	return json_write(doc, ret_len);
}

int shelf_put_etags(struct shelf *s, const char *name, const char *tree,
		    const struct shelf_etag *files, size_t n, struct err *err)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free struct shelf_etag *sorted = mem_alloc(n * sizeof *sorted);
	cleanup_free char *file = etags_of(name);
	cleanup_free char *text = NULL;
	size_t len;

	memcpy(sorted, files, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_path);
	text = etags_text(tree, sorted, n, &len);
	return shelf__write(s, "refs", file, text, len, 0600, err);
}

struct etags {
	yyjson_val *list;
	size_t i;
	bool (*each)(void *data, const struct shelf_file *f, const char *etag);
	void *data;
};

static bool with_etag(void *data, const struct shelf_file *f)
{
	struct etags *e = data;
	yyjson_val *etag = yyjson_arr_get(e->list, e->i++);

	return e->each(e->data, f, yyjson_get_str(etag));
}

void shelf_each_etag(const struct shelf *s, const char *name,
		     bool (*each)(void *data, const struct shelf_file *f,
				  const char *etag),
		     void *data)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free char *file = etags_of(name);
	cleanup_free char *path = mem_printf("%s/refs/%s", s->at, file);
	struct etags e = {.each = each, .data = data};
	cleanup_free char *text = NULL;
	cleanup_json yyjson_doc *doc = NULL;
	struct shelf_ref ref;
	yyjson_val *root;
	size_t len;

	if (shelf__read(path, SHELF_JSON_MAX, &text, &len) != 0 ||
	    shelf_find(s, name, &ref, NULL) != 0)
		return;
	doc = json_parse(text, len, NULL);
	root = yyjson_doc_get_root(doc);
	e.list = yyjson_obj_get(root, "etags");
	/* Who was killed between the two has left those of another tree. */
	if (strcmp(json_str(root, "tree", ""), ref.tree) == 0 &&
	    yyjson_arr_size(e.list) == ref.files)
		shelf__each_file(s, ref.tree, with_etag, &e);
	shelf_ref_fini(&ref);
}

static bool is_ref(const char *name)
{
	return strlen(name) == 69 && strcmp(name + 64, ".json") == 0;
}

int shelf_each(const struct shelf *s,
	       int (*each)(void *data, const struct shelf_ref *r), void *data,
	       struct err *err)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free char *path = mem_printf("%s/refs", s->at);
	DIR *d = shelf__opendir(path);
	struct dirent *e;
	int rc = 0;

	if (!d)
		return err_sys(err, errno, "cannot list %s/refs", s->dir);
	while (rc == 0 && (e = readdir(d))) {
		struct shelf_ref ref;

		if (!is_ref(e->d_name) || !read_ref(s, e->d_name, &ref))
			continue;
		rc = each(data, &ref);
		shelf_ref_fini(&ref);
	}
	closedir(d);
	return rc;
}

enum stamp { STAMP_USED, STAMP_CHECKED };

/* Read and written under a lock, so that no stamp of another process is lost.
 */
static int stamp(struct shelf *s, const char *name, enum stamp what,
		 struct err *err)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_close int lock = -1;
	struct shelf_ref ref;
	int rc = shelf__lock(s, "refs/.lock", LOCK_EX, &lock, err);

	if (rc == 0)
		rc = shelf_find(s, name, &ref, err);
	if (rc != 0)
		return rc;
	if (what == STAMP_USED)
		ref.used_at = time(NULL);
	else
		ref.checked_at = time(NULL);
	rc = shelf__write_ref(s, &ref, err);
	shelf_ref_fini(&ref);
	return rc;
}

int shelf_used(struct shelf *s, const char *name, struct err *err)
{
	return stamp(s, name, STAMP_USED, err);
}

int shelf_checked(struct shelf *s, const char *name, struct err *err)
{
	return stamp(s, name, STAMP_CHECKED, err);
}

int shelf_remove(struct shelf *s, const char *name, struct err *err)
{
	cleanup_guise struct shelf_guise g = shelf__worn(s);
	cleanup_free char *file = file_of(name);
	cleanup_free char *path = mem_printf("%s/refs/%s", s->at, file);
	cleanup_free char *etags = etags_of(name);
	cleanup_free char *beside = mem_printf("%s/refs/%s", s->at, etags);
	cleanup_close int lock = -1;
	int rc = shelf__lock(s, "refs/.lock", LOCK_EX, &lock, err);

	if (rc != 0)
		return rc;
	unlink(beside); /* first: it is found by the ref */
	if (unlink(path) == 0)
		return 0;
	if (errno == ENOENT)
		return err_set(err, E_NOTFOUND,
			       "the model is not there: 'soma models' lists "
			       "those that are");
	return shelf__fail(s, errno, "removing a model", err);
}
