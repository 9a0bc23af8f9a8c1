#include "daemon/gateway.h"

#include <stdio.h>
#include <time.h>

#include "core/json.h"
#include "loop/log.h"

static void not_found(struct http_req *req, struct serve *s)
{
	char path[65];
	size_t n = MIN(req->path.n, sizeof path - 1);
	const char *near;

	memcpy(path, req->path.p, n);
	path[n] = 0;
	near = serve_near_endpoint(s, path);
	/* A long way below an endpoint: its first segment may be near. */
	if (!near && n > 1) {
		path[1 + strcspn(path + 1, "/")] = 0;
		near = serve_near_endpoint(s, path);
	}
	http_reply_error(req, E_NOTFOUND, "nothing is deployed at '%.*s'%s%s%s",
			 (int)MIN(req->path.n, 200u), req->path.p,
			 near ? "; did you mean '" : "", near ? near : "",
			 near ? "'?" : "");
}

enum { ACCESS_BYTES = 64 << 20, ACCESS_FILES = 4, LINE_MAX_BYTES = 96 * 1024 };

void gateway_init(struct gateway *g, struct serve *serve, bool logs)
{
	*g = (struct gateway){.serve = serve, .logs = logs, .second = -1};
	logfile_init(&g->access, serve->loop,
		     mem_printf("%s/logs/access.jsonl", serve->data_dir),
		     ACCESS_BYTES, ACCESS_FILES);
}

void gateway_close(struct gateway *g, void (*on_closed)(struct logfile *f))
{
	logfile_close(&g->access, on_closed);
}

void gateway_on_request(struct http_req *req, void *data)
{
	struct gateway *g = data;
	struct serve *s = g->serve;
	struct str rest;
	struct api *a = serve_route(s, req->path, &rest);

	if (!a) {
		if (str_eq(req->path, STR("/healthz")) ||
		    (str_eq(req->path, STR("/readyz")) && s->loaded &&
		     !s->stopping))
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

/* Text that is often plain: then it needs no care byte by byte. */
static void put(struct buf *b, const char *key, struct str text)
{
	buf_addf(b, ",\"%s\":", key);
	json_quote(b, text);
}

void gateway_on_log(struct http_req *req, void *data)
{
	struct gateway *g = data;
	int64_t now = log_now_ms();
	uint64_t us = (uv_hrtime() - req->start_ns) / 1000;
	struct buf b;

	if (!g->logs)
		return;
	if (now / 1000 != g->second) {
		g->second = now / 1000;
		log_time(now, g->stamp);
		g->stamp[19] = 0;
	}
	buf_init(&b, LINE_MAX_BYTES);
	buf_reserve(&b, 512);
	buf_addf(&b,
		 "{\"time\":\"%s.%03dZ\",\"status\":%u,\"ms\":%llu.%03llu,"
		 "\"in\":%llu,\"out\":%llu",
		 g->stamp, (int)(now % 1000), req->status,
		 (unsigned long long)(us / 1000),
		 (unsigned long long)(us % 1000),
		 (unsigned long long)req->bytes_in,
		 (unsigned long long)req->bytes_out);
	put(&b, "method", req->method_name);
	put(&b, "path", req->path);
	put(&b, "peer", req->peer);
	put(&b, "request_id", req->id);
	buf_adds(&b, req->gone ? ",\"gone\":true}\n" : "}\n");
	if (!b.full)
		logfile_add(&g->access, b.data, b.len);
	buf_fini(&b);
}
