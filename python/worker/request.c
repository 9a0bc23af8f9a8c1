/* request.c: one request, and the answers that need no Python. */
#include "worker.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"

struct request *request_new(struct conn *c)
{
	struct request *r = mem_alloc(sizeof *r);

	list_init(&r->link);
	r->conn = c;
	buf_init(&r->text, HEAD_MAX);
	buf_init(&r->body, worker.max_body ? worker.max_body : SIZE_MAX / 2);
	return r;
}

void request_free(struct request *r)
{
	if (!r)
		return;
	list_remove(&r->link);
	buf_fini(&r->text);
	buf_fini(&r->body);
	free(r->headers);
	free(r);
}

static const char *reason(unsigned status)
{
	switch (status) {
#define X(number, name, text)                                                  \
	case number:                                                           \
		return #text;
		HTTP_STATUS_MAP(X)
#undef X
	default:
		return "Unknown";
	}
}

void request_head(struct buf *b, const struct request *r, unsigned status,
		  const char *type, const char *extra, size_t body_len)
{
	buf_addf(b, "HTTP/1.1 %u %s\r\n", status, reason(status));
	if (type)
		buf_addf(b, "Content-Type: %s\r\n", type);
	if (status >= 200 && status != 204 && status != 304)
		buf_addf(b, "Content-Length: %zu\r\n", body_len);
	if (!r->keep_alive)
		buf_adds(b, "Connection: close\r\n");
	if (extra)
		buf_adds(b, extra);
	buf_adds(b, "\r\n");
}

void request_answer(struct request *r, unsigned status, const char *type,
		    const char *extra, const char *body, size_t len)
{
	struct conn *c = r->conn;
	struct buf head;

	if (!c)
		return;
	buf_init(&head, ANSWER_MAX);
	request_head(&head, r, status, type, extra, len);
	if (r->method == HTTP_HEAD)
		len = 0;
	conn_answer(c, head.data, head.len, body, len, r->keep_alive);
	buf_fini(&head);
}

void request_error(struct request *r, unsigned status, const char *code,
		   const char *fmt, ...)
{
	char text[1024];
	struct buf b;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	buf_init(&b, 64 * 1024);
	buf_addf(&b, "{\"error\":{\"code\":\"%s\",\"message\":", code);
	json_quote(&b, str_of(text));
	buf_adds(&b, ",\"request_id\":");
	json_quote(&b, (struct str){r->text.data ? r->text.data + r->id : "",
				    r->id_len});
	buf_adds(&b, "}}");
	request_answer(r, status, "application/json", NULL, b.data, b.len);
	buf_fini(&b);
}

/* The request is over: its connection is free for the next. */
static void done(struct request *r)
{
	struct conn *c = r->conn;

	if (c && c->req == r)
		c->req = NULL;
	request_free(r);
}

void request_arrived(struct request *r)
{
	static const char preflight[] = "Access-Control-Allow-Origin: *\r\n"
					"Access-Control-Allow-Methods: *\r\n"
					"Access-Control-Allow-Headers: *\r\n"
					"Access-Control-Max-Age: 1728000\r\n";
	static const char hello[] =
		"{\"message\":\"make a prediction by sending a post request to "
		"this endpoint with a json payload\"}";

	switch (r->method) {
	case HTTP_POST:
		list_push_back(&worker.queue, &r->link);
		worker.n_queued++;
		if (!worker.own_poll)
			pthread_cond_signal(&worker.work);
		return;
	case HTTP_GET:
	case HTTP_HEAD:
		request_answer(r, 200, "application/json", NULL, hello,
			       sizeof hello - 1);
		break;
	case HTTP_OPTIONS:
		request_answer(r, 204, NULL, preflight, NULL, 0);
		break;
	default: {
		static const char body[] =
			"{\"error\":{\"code\":\"method_not_allowed\","
			"\"message\":\"a predictor takes POST\"}}";

		request_answer(r, 405, "application/json",
			       "Allow: POST, GET, HEAD, OPTIONS\r\n", body,
			       sizeof body - 1);
		break;
	}
	}
	done(r);
}
