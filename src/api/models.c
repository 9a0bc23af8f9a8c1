/* models.c: which models are there, and what they take on the disk. */
#include "api/models_parts.h"

#include <assert.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "core/mem.h"
#include "loop/log.h"
#include "spec/source.h"

enum { TELL_FIRST_MS = 100, TELL_MS = 250 };

/* ---- work on the pool ---- */

static void job_free(struct models_job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		shelf_ref_fini(&j->rows[i].ref);
		yyjson_doc_free(j->rows[i].manifest);
		if (j->bad)
			free(j->bad[i]);
	}
	free(j->rows);
	free(j->bad);
	free(j->url);
	free(j);
}

static void on_over(struct http_req *req)
{
	struct models_job *j = req->user;

	if (!j)
		return;
	j->req = NULL;
	atomic_store(&j->gone, true);
}

static void on_work(uv_work_t *work)
{
	struct models_job *j = work->data;

	j->run(j);
}

static void on_timer_closed(uv_handle_t *timer)
{
	job_free(timer->data);
}

static void on_done(uv_work_t *work, int status)
{
	struct models_job *j = work->data;

	(void)status;
	j->admin->serve->deploys--;
	if (j->lock)
		*j->lock = false;
	if (j->req)
		j->req->user = NULL;
	if (j->req && j->err.code && !j->told)
		admin_error(j->req, &j->err);
	else
		j->answer(j);
	if (j->tell)
		uv_close((uv_handle_t *)&j->timer, on_timer_closed);
	else
		job_free(j);
}

struct models_job *models__start(struct http_req *req, const char *url,
				 void (*run)(struct models_job *j),
				 void (*answer)(struct models_job *j))
{
	struct models_job *j = mem_alloc(sizeof *j);
	int rc;

	*j = (struct models_job){.admin = admin_of(req),
				 .req = req,
				 .url = mem_strdup(url),
				 .run = run,
				 .answer = answer};
	j->work.data = j;
	req->user = j;
	req->on_over = on_over;
	j->admin->serve->deploys++;
	rc = uv_queue_work(j->admin->serve->loop, &j->work, on_work, on_done);
	assert(rc == 0);
	return j;
}

static void on_timer(uv_timer_t *timer)
{
	struct models_job *j = timer->data;

	if (j->req)
		j->tell(j);
}

void models__tell(struct models_job *j, void (*tell)(struct models_job *j))
{
	uv_loop_t *loop = j->admin->serve->loop;

	j->tell = tell;
	j->began = uv_now(loop);
	uv_timer_init(loop, &j->timer);
	j->timer.data = j;
	uv_timer_start(&j->timer, on_timer, TELL_FIRST_MS, TELL_MS);
}

void models__say(struct http_req *req, yyjson_mut_doc *doc)
{
	cleanup_free char *text = NULL;
	struct buf b;
	size_t len;

	text = json_write(doc, &len);
	buf_init(&b, len + 2);
	buf_add(&b, text, len);
	buf_addc(&b, '\n');
	http_reply_chunk(req, b.data, b.len);
	buf_fini(&b);
}

static int take_row(void *data, const struct shelf_ref *r)
{
	struct models_job *j = data;
	struct models_row *row;

	if (j->url && strcmp(r->url, j->url) != 0)
		return 0;
	j->rows = mem_grow(j->rows, (j->n + 1) * sizeof *j->rows);
	row = &j->rows[j->n++];
	*row = (struct models_row){.ref = *r};
	row->ref.url = mem_strdup(r->url);
	row->ref.etag = mem_strdup(r->etag);
	return 0;
}

static void read_manifest(struct models_job *j)
{
	size_t len;
	cleanup_free char *text = shelf_manifest(&j->admin->serve->models.shelf,
						 j->rows[0].ref.tree, &len);

	if (text)
		j->rows[0].manifest = json_parse(text, len, NULL);
}

/* One for all before those of an api's own endpoints. */
static int by_name(const void *a, const void *b)
{
	const struct shelf_ref *x = &((const struct models_row *)a)->ref;
	const struct shelf_ref *y = &((const struct models_row *)b)->ref;
	int rc = strcmp(x->url, y->url);

	return rc ? rc : strcmp(x->via, y->via);
}

void models__read(struct models_job *j)
{
	struct shelf *shelf = &j->admin->serve->models.shelf;
	struct statvfs vfs;

	if (statvfs(shelf->dir, &vfs) == 0)
		j->free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (shelf_each(shelf, take_row, j, &j->err))
		return;
	if (j->n)
		qsort(j->rows, j->n, sizeof *j->rows, by_name);
	if (j->url && !j->n)
		err_set(&j->err, E_NOTFOUND,
			"there is no model '%.500s'; 'soma models list' shows "
			"those that are there, and 'soma models pull' fetches "
			"one",
			j->url);
	else if (j->url)
		read_manifest(j);
}

/* ---- who uses one ---- */

static bool has(const struct revision *rev, const char *url)
{
	for (size_t i = 0; i < rev->models.n; i++)
		if (strcmp(rev->models.items[i].source, url) == 0)
			return true;
	return false;
}

static void each_user(const struct serve *s, const char *url,
		      void (*each)(void *data, const struct revision *rev),
		      void *data)
{
	struct list *it, *tmp;
	struct api *a;

	for (size_t i = 0; (a = map_next(&s->apis, &i, NULL));)
		LIST_EACH (&a->revisions, it, tmp) {
			struct revision *rev =
				LIST_ENTRY(it, struct revision, link);

			if (has(rev, url))
				each(data, rev);
		}
}

static void add_name(void *data, const struct revision *rev)
{
	struct buf *b = data;

	buf_addf(b, "%s%s (revision %lld)", b->len ? ", " : "", rev->api->name,
		 (long long)rev->number);
}

char *models__users(const struct serve *s, const char *url)
{
	struct buf b;

	buf_init(&b, 64 * 1024);
	each_user(s, url, add_name, &b);
	return buf_take(&b, NULL);
}

struct names {
	yyjson_mut_doc *doc;
	yyjson_mut_val *list;
};

static void add_object(void *data, const struct revision *rev)
{
	struct names *n = data;
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(n->doc, n->list);

	yyjson_mut_obj_add_strcpy(n->doc, o, "api", rev->api->name);
	yyjson_mut_obj_add_int(n->doc, o, "revision", rev->number);
}

/* ---- as JSON ---- */

static void put_time(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key,
		     int64_t unix_s)
{
	char text[32];

	log_time(unix_s * 1000, text);
	yyjson_mut_obj_add_strcpy(doc, o, key, text);
}

/* What is under way for it, of whoever. */
static void put_state(yyjson_mut_doc *doc, yyjson_mut_val *o,
		      const struct model *m)
{
	static const char *const words[] = {[MODEL_FETCHING] = "fetching",
					    [MODEL_READY] = "ready",
					    [MODEL_FAILED] = "failed"};

	yyjson_mut_obj_add_str(doc, o, "state", m ? words[m->state] : "ready");
	if (m && m->message)
		yyjson_mut_obj_add_strcpy(doc, o, "message", m->message);
	else
		yyjson_mut_obj_add_null(doc, o, "message");
	if (!m || m->state != MODEL_FETCHING)
		return;
	yyjson_mut_obj_add_uint(doc, o, "bytes_done", m->done);
	yyjson_mut_obj_add_uint(doc, o, "bytes_total", m->total);
	yyjson_mut_obj_add_uint(doc, o, "bytes_per_s", m->rate);
}

static void put_users(yyjson_mut_doc *doc, yyjson_mut_val *o,
		      const struct serve *s, const char *url)
{
	struct names n = {doc, yyjson_mut_obj_add_arr(doc, o, "used_by")};

	each_user(s, url, add_object, &n);
}

static void put_row(yyjson_mut_doc *doc, yyjson_mut_val *o,
		    const struct serve *s, const struct models_row *row)
{
	const struct shelf_ref *r = &row->ref;
	cleanup_free char *path = shelf_tree_path(&s->models.shelf, r->tree);
	cleanup_free char *name = shelf_ref_name(r);
	yyjson_val *files =
		yyjson_obj_get(yyjson_doc_get_root(row->manifest), "files");

	yyjson_mut_obj_add_strcpy(doc, o, "url", r->url);
	put_state(doc, o, models_named(&s->models, name));
	yyjson_mut_obj_add_uint(doc, o, "bytes", r->bytes);
	yyjson_mut_obj_add_uint(doc, o, "n_files", r->files);
	yyjson_mut_obj_add_strcpy(doc, o, "path", path);
	yyjson_mut_obj_add_strcpy(doc, o, "etag", r->etag);
	put_time(doc, o, "checked", r->checked_at);
	put_time(doc, o, "used", r->used_at);
	put_users(doc, o, s, r->url);
	if (files)
		yyjson_mut_obj_add_val(doc, o, "files",
				       yyjson_val_mut_copy(doc, files));
}

/* Those that are not on the shelf yet. */
static void put_coming(yyjson_mut_doc *doc, yyjson_mut_val *list,
		       const struct models_job *j)
{
	const struct serve *s = j->admin->serve;
	struct model *m;

	for (size_t i = 0; (m = map_next(&s->models.by_key, &i, NULL));) {
		yyjson_mut_val *o;
		bool there = models_named(&s->models, m->name) != m;

		for (size_t k = 0; !there && k < j->n; k++) {
			cleanup_free char *name =
				shelf_ref_name(&j->rows[k].ref);

			there = strcmp(name, m->name) == 0;
		}
		if (there)
			continue;
		o = yyjson_mut_arr_add_obj(doc, list);
		yyjson_mut_obj_add_strcpy(doc, o, "url", m->url);
		put_state(doc, o, m);
		put_users(doc, o, s, m->url);
	}
}

static void reply(struct models_job *j, yyjson_mut_doc *doc)
{
	cleanup_free char *text = NULL;
	size_t len;

	text = json_write(doc, &len);
	http_reply(j->req, 200, "application/json", text, len);
}

static void answer_list(struct models_job *j)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;

	if (!j->req)
		return;
	yyjson_mut_doc_set_root(doc, root);
	list = yyjson_mut_obj_add_arr(doc, root, "models");
	for (size_t i = 0; i < j->n; i++)
		put_row(doc, yyjson_mut_arr_add_obj(doc, list), j->admin->serve,
			&j->rows[i]);
	put_coming(doc, list, j);
	reply(j, doc);
}

static void answer_one(struct models_job *j)
{
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	if (!j->req)
		return;
	yyjson_mut_doc_set_root(doc, root);
	put_row(doc, root, j->admin->serve, &j->rows[0]);
	reply(j, doc);
}

static void answer_df(struct models_job *j)
{
	const struct serve *s = j->admin->serve;
	cleanup_json_mut yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	uint64_t used = 0;

	if (!j->req)
		return;
	for (size_t i = 0; i < j->n; i++) {
		cleanup_free char *users = models__users(s, j->rows[i].ref.url);

		used += *users ? j->rows[i].ref.bytes : 0;
	}
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "dir", s->models.shelf.dir);
	yyjson_mut_obj_add_uint(doc, root, "models", j->n);
	yyjson_mut_obj_add_uint(doc, root, "bytes", s->models.bytes);
	yyjson_mut_obj_add_uint(doc, root, "used_bytes", used);
	yyjson_mut_obj_add_uint(doc, root, "free_bytes", j->free_bytes);
	yyjson_mut_obj_add_uint(doc, root, "models_size", s->models_size);
	reply(j, doc);
}

void admin_models(struct http_req *req, const char *arg)
{
	const char *url = http_req_param(req, "url");

	(void)arg;
	models__start(req, url, models__read, url ? answer_one : answer_list);
}

void admin_models_df(struct http_req *req, const char *arg)
{
	(void)arg;
	models__start(req, NULL, models__read, answer_df);
}

/* ---- what is asked for ---- */

bool models__check_url(struct http_req *req, const char *url)
{
	regex_t regex;
	bool ok;
	int rc = regcomp(&regex, SOURCE_URL_PATTERN, REG_EXTENDED | REG_NOSUB);

	assert(rc == 0);
	ok = regexec(&regex, url, 0, NULL, 0) == 0 && !source_in_place(url);
	regfree(&regex);
	if (source_has_user(url))
		http_reply_error(req, E_INVALID, "%s", SOURCE_NO_USER);
	else if (!ok)
		http_reply_error(req, E_INVALID,
				 "'%.500s' is not fetched from anywhere: give "
				 "s3://BUCKET/KEY, gs://BUCKET/KEY, "
				 "hf://ORG/NAME[@REVISION] or "
				 "http(s)://HOST/FILE",
				 url);
	return ok;
}

const char *models__url(struct http_req *req, const char *body, size_t len,
			bool needed, bool *ret_ok)
{
	struct err err = {0};
	cleanup_json yyjson_doc *doc =
		len || needed ? json_parse(body, len, &err) : NULL;
	const char *url = json_str(yyjson_doc_get_root(doc), "url", NULL);

	*ret_ok = false;
	if ((len || needed) && !doc) {
		admin_error(req, &err);
		return NULL;
	}
	if (!url && needed) {
		http_reply_error(req, E_INVALID,
				 "the body must be {\"url\":\"...\"}");
		return NULL;
	}
	*ret_ok = true;
	return url ? arena_strdup(req->arena, url) : NULL;
}
