#include "daemon/gateway.h"

#include <stdio.h>
#include <time.h>

#include "core/json.h"
#include "loop/log.h"
#include "serve/cors.h"
#include "serve/shadow.h"

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

enum {
	ACCESS_BYTES = 64 << 20,
	ACCESS_FILES = 4,
	LINE_MAX_BYTES = 96 * 1024,
	/* A longer one is cut: as JSON it takes three times as much at most. */
	PATH_LOGGED = 30 * 1024,
};

void gateway_init(struct gateway *g, struct serve *serve, bool logs)
{
	*g = (struct gateway){.serve = serve, .logs = logs, .second = -1};
	logfile_init(&g->access, serve->loop,
		     mem_printf("%s/logs/access.jsonl", serve->data_dir),
		     ACCESS_BYTES, ACCESS_FILES);
	buf_init(&g->line, LINE_MAX_BYTES);
}

void gateway_close(struct gateway *g, void (*on_closed)(struct logfile *f))
{
	buf_fini(&g->line);
	logfile_close(&g->access, on_closed);
}

void gateway_on_request(struct http_req *req, void *data)
{
	struct gateway *g = data;
	struct serve *s = g->serve;
	struct str rest;
	struct api *a, *splitter = NULL;

	if (s->yielded) {
		s->pass_on(s, req, -1);
		return;
	}
	a = serve_route(s, req->path, &rest);

	if (!a) {
		if (str_eq(req->path, STR("/healthz")) ||
		    (str_eq(req->path, STR("/readyz")) && s->loaded &&
		     !s->stopping))
			http_reply(req, 200, "text/plain", "ok\n", 3);
		else
			not_found(req, s);
		return;
	}
	if (a->splitter) {
		if (rest.n && !str_eq(rest, STR("/"))) {
			not_found(req, s);
			return;
		}
		splitter = a;
		rest = (struct str){0};
		/* A browser's question is no request: it is nobody's turn. */
		a = splitter_peek(splitter);
		if (a && cors_asks(a, req)) {
			cors_apply(a, req);
			return;
		}
		req->splitter =
			str_of(arena_strdup(req->arena, splitter->name));
		a = splitter_pick(splitter, req);
		if (!a)
			return;
	}
	if (cors_apply(a, req))
		return;
	/* A predictor has one path; whatever else is there is not its. */
	if (a->want && a->want->spec->predictor.type != PREDICTOR_COMMAND &&
	    rest.n && !str_eq(rest, STR("/"))) {
		not_found(req, s);
		return;
	}
	if (splitter)
		shadow_accept(splitter, a, req);
	else
		gate_accept(a, req, rest);
}

/* A line for each request: without printf, which would cost as much as all of
 * the proxy's own work. */

static void put_number(struct buf *b, const char *key, uint64_t v)
{
	buf_adds(b, key);
	buf_addu(b, v);
}

/* One that has nothing to be quoted: our own, or checked when it came. */
static void put_word(struct buf *b, const char *key, struct str word)
{
	buf_adds(b, key);
	buf_add(b, word.p, word.n);
}

static void put_text(struct buf *b, const char *key, struct str text)
{
	buf_adds(b, key);
	json_quote(b, text);
}

/* ".045" */
static void put_thousandths(struct buf *b, uint64_t v)
{
	const char text[4] = {'.', (char)('0' + v / 100 % 10),
			      (char)('0' + v / 10 % 10), (char)('0' + v % 10)};

	buf_add(b, text, sizeof text);
}

static void put_time(struct gateway *g, struct buf *b)
{
	int64_t now = log_now_ms();

	if (now / 1000 != g->second) {
		g->second = now / 1000;
		log_time(now, g->stamp);
		g->stamp[19] = 0;
	}
	buf_adds(b, "{\"time\":\"");
	buf_adds(b, g->stamp);
	put_thousandths(b, (uint64_t)now % 1000);
}

void gateway_on_log(struct http_req *req, void *data)
{
	struct gateway *g = data;
	struct buf *b = &g->line;
	uint64_t us = (req->end_ns - req->start_ns) / 1000;

	shadow_on_main_over(req);
	splitter_on_over(g->serve, req);
	if (!g->logs)
		return;
	buf_reset(b);
	put_time(g, b);
	put_number(b, "Z\",\"status\":", req->status);
	put_number(b, ",\"ms\":", us / 1000);
	put_thousandths(b, us % 1000);
	put_number(b, ",\"in\":", req->bytes_in);
	put_number(b, ",\"out\":", req->bytes_out);
	put_word(b, ",\"method\":\"", req->method_name);
	put_text(b, "\",\"path\":",
		 (struct str){req->path.p,
			      MIN(req->path.n, (size_t)PATH_LOGGED)});
	put_word(b, ",\"peer\":\"", req->peer);
	put_word(b, "\",\"request_id\":\"", req->id);
	if (req->splitter.n) {
		put_word(b, "\",\"splitter\":\"", req->splitter);
		put_word(b, "\",\"api\":\"", req->target_api);
	}
	buf_adds(b, req->gone ? "\",\"gone\":true}\n" : "\"}\n");
	if (!b->full)
		logfile_add(&g->access, b->data, b->len);
}
