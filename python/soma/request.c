/* Requests as llhttp takes them apart. */
#include "stages.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

/* --- llhttp's callbacks; the parser's data is the conn ---------------------
 */

static struct request *of(llhttp_t *parser)
{
	struct conn *c = parser->data;

	return c->request;
}

static int keep(struct request *r, const char *at, size_t n)
{
	if (buf_add(&r->head, at, n)) {
		r->refuse = 431;
		return -1;
	}
	return 0;
}

static int on_target(llhttp_t *parser, const char *at, size_t n)
{
	struct request *r = of(parser);

	r->target_len += (uint32_t)n;
	return keep(r, at, n);
}

static int new_header(struct request *r)
{
	if (r->n_headers == HEADERS_MAX) {
		r->refuse = 431;
		return -1;
	}
	if (r->n_headers == r->headers_cap) {
		r->headers_cap = r->headers_cap ? r->headers_cap * 2 : 16;
		r->headers = mem_grow(r->headers,
				      r->headers_cap * sizeof *r->headers);
	}
	r->headers[r->n_headers++] =
		(struct header){.name = (uint32_t)r->head.len};
	return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t n)
{
	struct request *r = of(parser);

	if ((!r->n_headers || r->in_value) && new_header(r))
		return -1;
	r->in_value = false;
	r->headers[r->n_headers - 1].name_len += (uint32_t)n;
	return keep(r, at, n);
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
	struct request *r = of(parser);
	struct header *h = &r->headers[r->n_headers - 1];

	if (!r->in_value) {
		r->in_value = true;
		h->value = (uint32_t)r->head.len;
	}
	h->value_len += (uint32_t)n;
	return keep(r, at, n);
}

static void lower_names(struct request *r)
{
	for (uint32_t i = 0; i < r->n_headers; i++) {
		char *name = r->head.data + r->headers[i].name;

		for (uint32_t k = 0; k < r->headers[i].name_len; k++)
			if (name[k] >= 'A' && name[k] <= 'Z')
				name[k] = (char)(name[k] | 0x20);
	}
}

static void take_id(struct request *r)
{
	struct str id;
	unsigned char noise[8];

	if (request_header(r, STR("x-request-id"), &id) && id.n &&
	    id.n <= ID_MAX) {
		memcpy(r->id, id.p, id.n);
		r->id[id.n] = 0;
		return;
	}
	/* Only without a daemon in front. */
	if (getrandom(noise, sizeof noise, 0) != sizeof noise)
		memset(noise, 0, sizeof noise);
	str_hex(noise, sizeof noise, r->id);
}

static int on_headers_complete(llhttp_t *parser)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct conn *c = parser->data;
	struct request *r = c->request;
	struct str value;

	lower_names(r);
	take_id(r);
	r->method = parser->method;
	r->encoded = request_header(r, STR("content-encoding"), &value);
	r->timed = request_header(r, STR("soma-timing"), &value);
	/* Nobody's request; no client can send it through Soma. */
	r->counted = request_header(r, STR("x-soma-warmup"), &value);
	parser->upgrade = 0; /* not offered: the request is an ordinary one */
	if ((parser->flags & F_CONTENT_LENGTH) &&
	    parser->content_length > worker.max_body) {
		r->refuse = 413;
		return -1;
	}
	/* Lost when the socket is full, and then the client sends anyway. */
	if (request_header(r, STR("expect"), &value) &&
	    str_ieq(value, STR("100-continue")) &&
	    send(c->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL | MSG_DONTWAIT) <
		    0)
		return 0;
	return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
	struct request *r = of(parser);

	/* Read in place (conn.c): it lies where it belongs. */
	if (r->body.data && at == r->body.data + r->body.len &&
	    n <= r->body.cap - r->body.len) {
		r->body.len += n;
		return 0;
	}
	if (buf_add(&r->body, at, n)) {
		r->refuse = 413;
		return -1;
	}
	return 0;
}

static int on_complete(llhttp_t *parser)
{
	of(parser)->keep_alive = llhttp_should_keep_alive(parser);
	return HPE_PAUSED; /* what follows waits for its turn */
}

static const llhttp_settings_t settings = {
	.on_url = on_target,
	.on_header_field = on_name,
	.on_header_value = on_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

void request_parser_init(struct conn *c)
{
	llhttp_init(&c->parser, HTTP_REQUEST, &settings);
	c->parser.data = c;
}

/* --- life ------------------------------------------------------------------
 */

struct request *request_create(struct conn *c)
{
	struct request *r;

	if (list_empty(&worker.spare)) {
		r = mem_alloc(sizeof *r);
	} else {
		r = LIST_ENTRY(worker.spare.next, struct request, link);
		list_remove(&r->link);
		worker.n_spare--;
		*r = (struct request){.head = r->head,
				      .headers = r->headers,
				      .headers_cap = r->headers_cap};
	}
	list_init(&r->link);
	list_init(&r->task_link);
	r->conn = c;
	r->head.max = HEAD_MAX;
	buf_init(&r->body, worker.max_body);
	return r;
}

/* Kept for the next, with the memory of its head. */
void request_destroy(struct request *r)
{
	if (!r)
		return;
	list_remove(&r->link);
	list_remove(&r->task_link);
	buf_fini(&r->body);
	if (worker.n_spare < SPARE_MAX && r->head.cap <= SPARE_HEAD_MAX &&
	    r->headers_cap <= SPARE_HEADERS_MAX) {
		worker.n_spare++;
		buf_reset(&r->head);
		list_push_front(&worker.spare, &r->link);
		return;
	}
	buf_fini(&r->head);
	free(r->headers);
	free(r);
}

void request_end(struct request *r)
{
	call_fini(&r->call); /* which may be the user's code */
	output_end_lines();
	slot_set_current(NULL);
	if (worker.forked)
		process_exit(0); /* a fork of the user's came back to us */
	worker_lock();
	request_destroy(r);
}

void request_leave(struct request *r)
{
	if (!r)
		return;
	if (r->state == REQUEST_PRE && !r->begun) {
		stages_pre_end(r, 0);
		slot_look_again();
	}
	if (r->state == REQUEST_READING ||
	    (!r->begun &&
	     (r->state == REQUEST_PRE || r->state == REQUEST_QUEUED)))
		request_destroy(r);
	else
		r->conn = NULL; /* whoever has it frees it */
}

void request_cancel(struct request *r)
{
	if (r->stream)
		stream_wake(r->stream);
	task_cancel(r);
}

bool request_header(const struct request *r, struct str name, struct str *ret)
{
	for (uint32_t i = 0; i < r->n_headers; i++) {
		const struct header *h = &r->headers[i];

		if (str_eq((struct str){r->head.data + h->name, h->name_len},
			   name)) {
			*ret = str_trim((struct str){r->head.data + h->value,
						     h->value_len});
			return true;
		}
	}
	return false;
}

struct str request_target(const struct request *r)
{
	return (struct str){r->head.data, r->target_len};
}
