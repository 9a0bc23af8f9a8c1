#include "daemon/gateway.h"

#include <stdio.h>

#include "loop/log.h"
#include "serve/serve.h"

static void not_found(struct http_req *req, struct serve *s)
{
	char word[65];
	size_t n = req->path.n > 1 ? MIN(req->path.n - 1, sizeof word - 1) : 0;
	const char *near;

	memcpy(word, req->path.p + 1, n);
	word[n] = 0;
	word[strcspn(word, "/")] = 0;
	near = serve_near(s, word);
	http_reply_error(req, E_NOTFOUND, "nothing is deployed at '%.*s'%s%s%s",
			 (int)MIN(req->path.n, 200u), req->path.p,
			 near ? "; did you mean '" : "", near ? near : "",
			 near ? "'?" : "");
}

void gateway_on_request(struct http_req *req, void *data)
{
	struct serve *s = data;
	struct str rest;
	struct api *a = serve_route(s, req->path, &rest);

	if (!a) {
		if (str_eq(req->path, STR("/healthz")) ||
		    (str_eq(req->path, STR("/readyz")) && s->loaded))
			http_reply(req, 200, "text/plain", "ok\n", 3);
		else
			not_found(req, s);
		return;
	}
	/* A predictor has one path; whatever else is there is not its. */
	if (a->want && a->want->spec->predictor.type == PREDICTOR_PYTHON &&
	    rest.n && !str_eq(rest, STR("/"))) {
		not_found(req, s);
		return;
	}
	gate_accept(a, req, rest);
}

void gateway_on_log(struct http_req *req, void *data)
{
	char method[32], path[512], id[160], peer[64];

	(void)data;
	if (!log_wants(LOG_DEBUG))
		return;
	snprintf(method, sizeof method, "%.*s", (int)req->method_name.n,
		 req->method_name.p);
	snprintf(path, sizeof path, "%.*s", (int)req->path.n, req->path.p);
	snprintf(id, sizeof id, "%.*s", (int)req->id.n, req->id.p);
	snprintf(peer, sizeof peer, "%.*s", (int)req->peer.n, req->peer.p);
	log_debug(LOG_F(F_S("method", method), F_S("path", path),
			F_I("status", req->status), F_S("request_id", id),
			F_S("peer", peer), F_I("in", req->bytes_in),
			F_I("out", req->bytes_out),
			F_I("us", (uv_hrtime() - req->start_ns) / 1000)),
		  "request");
}
