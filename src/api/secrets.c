/* secrets.c: names of secrets can be read, values only written. */
#include <string.h>

#include "api/admin.h"
#include "core/json.h"
#include "core/mem.h"
#include "loop/log.h"

enum { SECRET_MAX = 64 * 1024, NAME_MAX_BYTES = 64, LIST_MAX = 1 << 20 };

struct waiting {
	struct http_req *req; /* NULL: gone */
	char *name;	      /* owned */
	const char *verb;
};

static void on_over(struct http_req *req)
{
	struct waiting *w = req->user;

	if (w)
		w->req = NULL;
}

static struct waiting *wait_for(struct http_req *req, const char *name,
				const char *verb)
{
	struct waiting *w = mem_alloc(sizeof *w);

	*w = (struct waiting){req, mem_strdup(name), verb};
	req->user = w;
	req->on_over = on_over;
	return w;
}

static void on_done(void *data, const struct err *err)
{
	struct waiting *w = data;

	if (w->req) {
		w->req->user = NULL;
		if (err)
			admin_error(w->req, err);
		else
			http_replyf(w->req, 200, "application/json",
				    "{\"message\":\"%s %s\"}", w->verb,
				    w->name);
	}
	free(w->name);
	free(w);
}

static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	return n >= 1 && n <= NAME_MAX_BYTES &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

static bool check_name(struct http_req *req, const char *name)
{
	if (name_ok(name))
		return true;
	http_reply_error(req, E_INVALID,
			 "a secret's name is 1 to 64 of a-z, 0-9, '-' and '_'");
	return false;
}

static void on_body(struct http_req *req, const char *body, size_t len)
{
	cleanup_json yyjson_doc *doc = NULL;
	const char *name = req->user, *value;
	struct err err = {0};

	req->user = NULL;
	doc = json_parse(body, len, &err);
	if (!doc) {
		admin_error(req, &err);
		return;
	}
	value = json_str(yyjson_doc_get_root(doc), "value", NULL);
	if (value &&
	    strlen(value) != yyjson_get_len(yyjson_obj_get(
				     yyjson_doc_get_root(doc), "value"))) {
		http_reply_error(req, E_INVALID,
				 "a secret becomes an environment variable, "
				 "which cannot hold a NUL character");
		return;
	}
	if (!value) {
		http_reply_error(req, E_INVALID,
				 "the body must be {\"value\":\"...\"}");
		return;
	}
	serve_put_secret(admin_of(req)->serve, name, value, on_done,
			 wait_for(req, name, "set"));
}

void admin_put_secret(struct http_req *req, const char *arg)
{
	if (!check_name(req, arg))
		return;
	req->user = (void *)(uintptr_t)arg;
	http_req_body(req, SECRET_MAX, on_body);
}

void admin_delete_secret(struct http_req *req, const char *arg)
{
	if (check_name(req, arg))
		serve_remove_secret(admin_of(req)->serve, arg, on_done,
				    wait_for(req, arg, "deleted"));
}

void admin_list_secrets(struct http_req *req, const char *arg)
{
	struct serve *s = admin_of(req)->serve;
	struct secret *v;
	const char *name;
	struct buf b;
	bool first = true;

	(void)arg;
	buf_init(&b, LIST_MAX);
	buf_adds(&b, "{\"secrets\":[");
	for (size_t i = 0; (v = map_next(&s->secrets, &i, &name));) {
		char time[32];

		log_time(v->updated_ms, time);
		buf_addf(&b, "%s{\"name\":\"%s\",\"updated\":\"%s\"}",
			 first ? "" : ",", name, time);
		first = false;
	}
	buf_adds(&b, "]}");
	http_reply(req, 200, "application/json", b.data, b.len);
	buf_fini(&b);
}
