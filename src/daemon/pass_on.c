#include "daemon/pass_on.h"

#include <stdlib.h>

#include "core/mem.h"

enum { TRIES_MAX = 5 };

/* One request on its way; in its arena. */
struct passed {
	struct pass_on *to;
	struct http_header add;
	bool has_limit;
	unsigned tries;
};

static void on_end(struct http_req *req, enum http_proxy_end end, void *data);

int pass_on_open(struct pass_on *p, struct lane *lane, char *path,
		 struct err *err)
{
	int rc = http_upstream_init(&p->up, lane, path, 0, err);

	p->path = path;
	p->open = rc == 0;
	return rc;
}

static void send_on(struct http_req *req, struct passed *w)
{
	const struct http_proxy_opts opts = {
		.target = req->target,
		.add = &w->add,
		.n_add = w->has_limit,
		.on_end = on_end,
		.data = w,
	};

	http_proxy(req, &w->to->up, &opts);
}

/* That daemon may have been killed while it had it. */
static bool may_repeat(const struct http_req *req)
{
	return str_eq(req->method_name, STR("GET")) ||
	       str_eq(req->method_name, STR("HEAD")) ||
	       http_req_header(req, "Idempotency-Key").n;
}

static void on_end(struct http_req *req, enum http_proxy_end end, void *data)
{
	struct passed *w = data;

	switch (end) {
	case PROXY_DONE:
	case PROXY_GONE:
	case PROXY_CUT:
		return;
	case PROXY_NO_CONNECT:
		if (++w->tries < TRIES_MAX)
			send_on(req, w);
		else
			http_reply_error(req, E_UNAVAILABLE,
					 "Soma was upgraded, and the daemon "
					 "that serves now cannot be reached");
		return;
	case PROXY_DIED:
		if (http_proxy_repeatable(req) && may_repeat(req) &&
		    ++w->tries < TRIES_MAX) {
			send_on(req, w);
			return;
		}
		break;
	case PROXY_BAD_RESPONSE:
	case PROXY_NOT_BEGUN:
	case PROXY_CANCELED:
		break;
	}
	http_reply_error(req, E_UPSTREAM,
			 "Soma was upgraded, and the daemon that serves now "
			 "ended while it had this request");
}

void pass_on(struct pass_on *p, struct http_req *req, int64_t left_ms)
{
	struct passed *w = arena_zalloc(req->arena, sizeof *w);

	w->to = p;
	req->quiet = true;
	if (left_ms >= 0) {
		w->has_limit = true;
		w->add.name = STR("X-Request-Timeout");
		w->add.value = str_of(arena_printf(req->arena, "%lld.%03d",
						   (long long)left_ms / 1000,
						   (int)(left_ms % 1000)));
	}
	send_on(req, w);
}
