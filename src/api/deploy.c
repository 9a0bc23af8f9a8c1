/* deploy.c: from a config file and a list of files, or the project that is
 * deployed, to apis. */
#include <stdio.h>
#include <string.h>

#include "api/admin.h"
#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"
#include "store/blob.h"

enum { BODY_MAX = 32 << 20, ANSWER_MAX = 32 << 20, FILES_MAX = 20000 };

/* One plan or deploy. Lives until the last api of it is durable. */
struct deploy {
	struct http_req *req; /* NULL: the client is gone */
	struct serve *serve;
	yyjson_doc *doc; /* owned: everything below borrows from it */
	const char *config_name, *config;
	bool force;
	struct project_file *files; /* owned array */
	size_t n_files;
	struct map by_path; /* path to file; folders to this struct */
	struct spec_set set;
	bool have_set;
	char **specs;  /* owned: JSON of each api */
	char *project; /* owned: hash */
	uint32_t next, n_done;
	struct buf apis; /* answer so far */
};

static void deploy_free(struct deploy *d)
{
	if (d->req)
		d->req->user = NULL;
	d->serve->deploys--;
	for (uint32_t i = 0; d->specs && i < d->set.n_specs; i++)
		free(d->specs[i]);
	free(d->specs);
	if (d->have_set)
		spec_set_fini(&d->set);
	map_fini(&d->by_path);
	free(d->files);
	free(d->project);
	buf_fini(&d->apis);
	yyjson_doc_free(d->doc);
	free(d);
}

static void on_over(struct http_req *req)
{
	struct deploy *d = req->user;

	if (d)
		d->req = NULL;
}

static void fail(struct deploy *d, const struct err *err)
{
	if (d->req)
		admin_error(d->req, err);
	deploy_free(d);
}

/* ---- what was sent ---- */

static int read_files(struct deploy *d, yyjson_val *arr, struct err *err)
{
	size_t i, max;
	yyjson_val *v;

	if (yyjson_arr_size(arr) > FILES_MAX)
		return err_set(err, E_TOOBIG,
			       "the project has more than %d files; leave out "
			       "what is not needed with .somaignore",
			       FILES_MAX);
	d->files = mem_alloc((yyjson_arr_size(arr) + 1) * sizeof *d->files);
	yyjson_arr_foreach(arr, i, max, v)
	{
		struct project_file *f = &d->files[d->n_files];

		f->path = json_str(v, "path", "");
		f->hash = json_str(v, "sha256", "");
		f->mode = (uint32_t)json_int(v, "mode", 0644);
		/* A NUL inside would make it another path. */
		if (yyjson_get_len(yyjson_obj_get(v, "path")) !=
			    strlen(f->path) ||
		    !project_path_ok(f->path) || !blob_hash_ok(f->hash))
			return err_set(err, E_INVALID,
				       "files[%zu]: '%.200s' is no path of a "
				       "project, or its sha256 is none",
				       i, f->path);
		if (map_set(&d->by_path, f->path, f))
			return err_set(err, E_INVALID,
				       "files[%zu]: '%.200s' is there twice", i,
				       f->path);
		d->n_files++;
		/* Its folders, for keys that name one. */
		for (const char *p = strchr(f->path, '/'); p;
		     p = strchr(p + 1, '/')) {
			cleanup_free char *dir =
				mem_strndup(f->path, (size_t)(p - f->path));

			if (!map_get(&d->by_path, dir))
				map_set(&d->by_path, dir, d);
		}
	}
	return 0;
}

static int kind_of(void *data, const char *path)
{
	struct deploy *d = data;
	void *found = map_get(&d->by_path, path);

	return !found ? 0 : found == d ? 2 : 1;
}

static int read_request(struct deploy *d, const char *body, size_t len,
			struct err *err)
{
	yyjson_val *root;

	d->doc = json_parse(body, len, err);
	if (!d->doc)
		return err->code;
	root = yyjson_doc_get_root(d->doc);
	d->config_name = json_str(root, "config_name", "soma.yaml");
	d->config = json_str(root, "config", NULL);
	d->force = json_bool(root, "force", false);
	if (!d->config)
		return err_set(err, E_INVALID, "config: no text");
	return read_files(d, yyjson_obj_get(root, "files"), err);
}

/* ---- what is wrong with it ---- */

static void add_problems(struct deploy *d, struct buf *b)
{
	buf_adds(b, "\"problems\":[");
	for (uint32_t i = 0; i < d->set.n_problems; i++) {
		const struct problem *p = &d->set.problems[i];

		buf_addf(b, "%s{\"level\":\"%s\",\"line\":%u,\"column\":%u",
			 i ? "," : "",
			 p->level == PROBLEM_ERROR ? "error" : "warning",
			 p->line, p->column);
		buf_adds(b, ",\"api\":");
		if (p->api)
			json_quote(b, str_of(p->api));
		else
			buf_adds(b, "null");
		buf_adds(b, ",\"key\":");
		if (p->key)
			json_quote(b, str_of(p->key));
		else
			buf_adds(b, "null");
		buf_adds(b, ",\"text\":");
		json_quote(b, str_of(p->text));
		buf_adds(b, ",\"shown\":");
		json_quote(b, str_of(spec_problem_line(&d->set, d->config_name,
						       p)));
		buf_addc(b, '}');
	}
	buf_addc(b, ']');
}

static void reply_problems(struct deploy *d)
{
	struct buf b;

	buf_init(&b, ANSWER_MAX);
	buf_addf(&b,
		 "{\"error\":{\"code\":\"unprocessable\",\"message\":\"%u "
		 "problem%s in the config file\",\"request_id\":",
		 d->set.n_errors, d->set.n_errors == 1 ? "" : "s");
	json_quote(&b, d->req->id);
	buf_adds(&b, "},");
	add_problems(d, &b);
	buf_addc(&b, '}');
	http_reply(d->req, 422, "application/json", b.data, b.len);
	buf_fini(&b);
}

/* Reads the config; false after answering that it cannot be used. */
static bool config_ok(struct deploy *d, const struct spec_files *files)
{
	if (d->have_set)
		spec_set_fini(&d->set);
	d->have_set = true;
	if (spec_parse(&d->set, d->config_name, d->config, strlen(d->config),
		       files) == 0)
		return true;
	reply_problems(d);
	return false;
}

static enum spec_there deployed(void *data, const char *api)
{
	const struct deploy *d = data;

	return splitter_there(d->serve, api);
}

/* Reads the specs; false after answering that they cannot be used. */
static bool specs_ok(struct deploy *d,
		     int (*kind)(void *data, const char *path))
{
	const struct spec_files files = {
		.kind_of = kind, .deployed = deployed, .data = d};
	struct err err = {0};

	if (!config_ok(d, &files))
		return false;
	for (uint32_t i = 0; i < d->set.n_specs; i++) {
		if (serve_check(d->serve, &d->set.specs[i], &err)) {
			admin_error(d->req, &err);
			return false;
		}
	}
	return true;
}

/* The hashes that are not here yet, as a JSON array; how many. */
static size_t add_missing(struct deploy *d, struct buf *b)
{
	struct map seen;
	size_t n = 0;

	map_init(&seen);
	buf_adds(b, "\"missing\":[");
	for (size_t i = 0; i < d->n_files; i++) {
		const char *hash = d->files[i].hash;

		if (map_set(&seen, hash, d) || blob_has(&d->serve->blobs, hash))
			continue;
		buf_addf(b, "%s\"%s\"", n++ ? "," : "", hash);
	}
	buf_addc(b, ']');
	map_fini(&seen);
	return n;
}

/* ---- making it so ---- */

static void reply_done(struct deploy *d)
{
	struct buf b;

	if (!d->req)
		return;
	buf_init(&b, ANSWER_MAX);
	buf_adds(&b, "{\"apis\":[");
	buf_add(&b, d->apis.data, d->apis.len);
	buf_adds(&b, "],");
	add_problems(d, &b);
	buf_addc(&b, '}');
	http_reply(d->req, 200, "application/json", b.data, b.len);
	buf_fini(&b);
}

static void apply_next(struct deploy *d);

static void on_applied(void *data, const struct err *err,
		       enum serve_change change, struct api *a)
{
	static const char *const words[] = {"created", "updated", "unchanged"};
	struct deploy *d = data;

	if (err) {
		fail(d, err);
		return;
	}
	buf_addf(&d->apis,
		 "%s{\"name\":\"%s\",\"kind\":\"%s\",\"revision\":%lld,"
		 "\"change\":\"%s\",\"url\":\"%s%s\"}",
		 d->n_done++ ? "," : "", a->name,
		 a->want ? a->want->spec->kind : "",
		 a->want ? (long long)a->want->number : 0LL, words[change],
		 d->serve->data_url, a->endpoint ? a->endpoint : "");
	apply_next(d);
}

static void apply_next(struct deploy *d)
{
	uint32_t i = d->next;

	if (i == d->set.n_specs) {
		reply_done(d);
		deploy_free(d);
		return;
	}
	d->next++;
	serve_apply(d->serve, d->specs[i],
		    d->set.specs[i].split_json ? NULL : d->project, d->force,
		    on_applied, d);
}

static void apply_all(struct deploy *d)
{
	d->specs = mem_alloc((d->set.n_specs + 1) * sizeof *d->specs);
	for (uint32_t i = 0; i < d->set.n_specs; i++)
		d->specs[i] = spec_to_json(&d->set.specs[i]);
	apply_next(d);
}

static void on_project(void *data, const char *dir, const struct err *err)
{
	struct deploy *d = data;

	(void)dir;
	if (err) {
		fail(d, err);
		return;
	}
	apply_all(d);
}

static struct deploy *deploy_new(struct http_req *req)
{
	struct deploy *d = mem_alloc(sizeof *d);

	d->req = req;
	d->serve = admin_of(req)->serve;
	d->serve->deploys++;
	map_init(&d->by_path);
	buf_init(&d->apis, ANSWER_MAX);
	req->user = d;
	req->on_over = on_over;
	return d;
}

static void on_deploy_body(struct http_req *req, const char *body, size_t len)
{
	struct deploy *d = deploy_new(req);
	struct err err = {0};
	char hash[65];
	struct buf b;

	if (read_request(d, body, len, &err)) {
		fail(d, &err);
		return;
	}
	if (!specs_ok(d, kind_of)) {
		deploy_free(d);
		return;
	}
	buf_init(&b, ANSWER_MAX);
	buf_addc(&b, '{');
	if (add_missing(d, &b)) {
		buf_addc(&b, '}');
		http_reply(req, 409, "application/json", b.data, b.len);
		buf_fini(&b);
		deploy_free(d);
		return;
	}
	buf_fini(&b);
	project_hash(d->files, d->n_files, hash);
	d->project = mem_strdup(hash);
	project_make(&d->serve->blobs, d->files, d->n_files, on_project, d);
}

void admin_deploy(struct http_req *req, const char *arg)
{
	(void)arg;
	http_req_body(req, BODY_MAX, on_deploy_body);
}

static void on_plan_body(struct http_req *req, const char *body, size_t len)
{
	struct deploy *d = deploy_new(req);
	struct err err = {0};
	struct buf b;

	if (read_request(d, body, len, &err)) {
		fail(d, &err);
		return;
	}
	if (specs_ok(d, kind_of)) {
		buf_init(&b, ANSWER_MAX);
		buf_addc(&b, '{');
		add_missing(d, &b);
		buf_addc(&b, ',');
		add_problems(d, &b);
		buf_addc(&b, '}');
		http_reply(req, 200, "application/json", b.data, b.len);
		buf_fini(&b);
	}
	deploy_free(d);
}

void admin_plan(struct http_req *req, const char *arg)
{
	(void)arg;
	http_req_body(req, BODY_MAX, on_plan_body);
}

/* ---- a config file for the project that is deployed ---- */

static int kind_deployed(void *data, const char *path)
{
	struct deploy *d = data;

	return project_kind(&d->serve->blobs, d->project, path);
}

/* The one project that all apis of the config run from. */
static int find_project(struct deploy *d, struct err *err)
{
	for (uint32_t i = 0; i < d->set.n_specs; i++) {
		const char *name = d->set.specs[i].name;
		const struct api *a = map_get(&d->serve->apis, name);

		if (!a || a->deleting || !a->want)
			return err_set(err, E_NOTFOUND,
				       "there is no api '%s' to patch: 'soma "
				       "deploy' makes it",
				       name);
		if (a->want->spec->split_json)
			continue; /* it has none */
		if (!a->want->project ||
		    (d->project && strcmp(d->project, a->want->project) != 0))
			return err_set(err, E_CONFLICT,
				       "'%s' was not deployed from the same "
				       "project as '%s': patch them with a "
				       "config file each, or deploy again",
				       name, d->set.specs[0].name);
		if (!d->project)
			d->project = mem_strdup(a->want->project);
	}
	return 0;
}

static void on_patch_body(struct http_req *req, const char *body, size_t len)
{
	struct deploy *d = deploy_new(req);
	struct err err = {0};

	if (read_request(d, body, len, &err)) {
		fail(d, &err);
		return;
	}
	/* Once for the names, once more with the files that they then have. */
	if (!config_ok(d, NULL)) {
		deploy_free(d);
		return;
	}
	if (find_project(d, &err)) {
		fail(d, &err);
		return;
	}
	if (!specs_ok(d, kind_deployed)) {
		deploy_free(d);
		return;
	}
	apply_all(d);
}

void admin_patch(struct http_req *req, const char *arg)
{
	(void)arg;
	http_req_body(req, BODY_MAX, on_patch_body);
}
