/* Any bytes as HTTP messages, one behind the other: no crash, and how they are
 * cut into reads makes no difference; a head that is taken is one to llhttp,
 * too, with the same lines in it. Its first byte: bit 0 says whose, a client's
 * or an upstream's; the rest how large the reads are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "http/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read, as bytes to compare. */
static struct buf *seen;

static bool on_body(struct message *m, const char *p, size_t n)
{
	(void)m;
	buf_add(seen, p, n);
	return true;
}

static void see_head(const struct head *h)
{
	buf_addf(seen, "<%d %d %d %lld %d%d%d%d%d%d%d%d>", h->status, h->method,
		 h->minor, (long long)h->content_length, h->chunked,
		 h->until_eof, h->no_body, h->says_close, h->says_keep_alive,
		 h->says_upgrade, h->expects_100, h->expects_other);
	buf_add(seen, h->first.p, h->first.n);
	for (uint32_t i = 0; i < h->n; i++) {
		buf_addc(seen, (char)('0' + h->drop[i]));
		buf_add(seen, h->headers[i].name.p, h->headers[i].name.n);
		buf_addc(seen, ':');
		buf_add(seen, h->headers[i].value.p, h->headers[i].value.n);
		/* Passed on as it is: a line must not become two. */
		if (memchr(h->headers[i].value.p, '\n', h->headers[i].value.n))
			abort();
	}
}

/* ---- what llhttp says */

static int on_text(llhttp_t *parser, const char *at, size_t n)
{
	buf_add(parser->data, at, n);
	return 0;
}

static int on_end(llhttp_t *parser)
{
	buf_addc(parser->data, '\n');
	return 0;
}

static int on_head_end(llhttp_t *parser)
{
	(void)parser;
	return HPE_PAUSED;
}

/* The head of m, written anew, and taken apart by llhttp. */
static void ask_another(const struct message *m)
{
	static const llhttp_settings_t settings = {
		.on_url = on_text,
		.on_url_complete = on_end,
		.on_status = on_text,
		.on_status_complete = on_end,
		.on_header_field = on_text,
		.on_header_field_complete = on_end,
		.on_header_value = on_text,
		.on_header_value_complete = on_end,
		.on_headers_complete = on_head_end,
	};
	bool response = m->kind == MESSAGE_RESPONSE;
	const struct head *h = &m->head;
	struct buf text, ours, theirs;
	llhttp_t parser;

	/* Other targets are judged by request.c. */
	if (!response && (h->method == HTTP_CONNECT || h->first.p[0] != '/'))
		return;
	buf_init(&text, 1 << 20);
	buf_init(&ours, 1 << 20);
	buf_init(&theirs, 1 << 20);
	if (response)
		buf_addf(&text, "HTTP/1.%d %03d ", h->minor, h->status);
	else
		buf_addf(&text, "%s ", llhttp_method_name(h->method));
	buf_add(&text, h->first.p, h->first.n);
	if (!response)
		buf_addf(&text, " HTTP/1.%d", h->minor);
	buf_adds(&text, "\r\n");
	buf_add(&ours, h->first.p, h->first.n);
	buf_addc(&ours, '\n');
	for (uint32_t i = 0; i < h->n; i++) {
		struct str name = h->headers[i].name,
			   value = h->headers[i].value;

		buf_add(&text, name.p, name.n);
		buf_adds(&text, ": ");
		buf_add(&text, value.p, value.n);
		buf_adds(&text, "\r\n");
		buf_add(&ours, name.p, name.n);
		buf_addc(&ours, '\n');
		buf_add(&ours, value.p, value.n);
		buf_addc(&ours, '\n');
	}
	buf_adds(&text, "\r\n");
	llhttp_init(&parser, response ? HTTP_RESPONSE : HTTP_REQUEST,
		    &settings);
	parser.data = &theirs;
	if (llhttp_execute(&parser, text.data, text.len) != HPE_PAUSED ||
	    parser.http_minor != h->minor ||
	    (response ? parser.status_code != h->status
		      : parser.method != h->method) ||
	    ours.len != theirs.len ||
	    memcmp(ours.data, theirs.data, ours.len) != 0)
		abort();
	buf_fini(&text);
	buf_fini(&ours);
	buf_fini(&theirs);
}

struct stream {
	enum message_kind kind;
	struct message m;
	struct arena mem;
	bool over; /* refused, or a message that ends with the stream */
};

static void begin(struct stream *s)
{
	arena_init(&s->mem);
	message_init(&s->m, s->kind);
	s->m.on_body = on_body;
}

static void end(struct stream *s)
{
	/* Where two things are wrong, the one that is seen first counts. */
	if (s->m.refuse)
		buf_adds(seen, "refused");
	message_fini(&s->m);
	arena_fini(&s->mem);
}

/* One read, which lies exactly in memory of its own. */
static void feed(struct stream *s, const char *p, size_t n)
{
	static const struct head_max max = {256, 1024, 20};
	size_t used;

	while (n > 0 && !s->over) {
		if (!s->m.head_done) {
			int rc =
				message_head(&s->m, &s->mem, &max, p, n, &used);

			if (rc == MESSAGE_MORE)
				return;
			if (rc == MESSAGE_REFUSED) {
				s->over = true;
				return;
			}
			see_head(&s->m.head);
			ask_another(&s->m);
			p += used;
			n -= used;
			/* As a server and an upstream do: a message without a
			 * body is complete at once. */
		}
		used = message_body(&s->m, p, n);
		p += used;
		n -= used;
		if (s->m.refuse)
			s->over = true;
		if (!s->m.complete)
			continue;
		buf_addc(seen, '.');
		end(s);
		begin(s);
	}
}

static void read_all(const uint8_t *data, size_t size, enum message_kind kind,
		     size_t piece, struct buf *out)
{
	struct stream s = {.kind = kind};

	seen = out;
	begin(&s);
	for (size_t at = 0; at < size; at += piece) {
		size_t n = MIN(piece, size - at);
		cleanup_free char *exact = mem_alloc(n);

		memcpy(exact, data + at, n);
		feed(&s, exact, n);
	}
	if (message_eof(&s.m))
		buf_addc(seen, '!');
	end(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum message_kind kind;
	struct buf whole, pieces;

	if (size < 2)
		return 0;
	kind = data[0] & 1 ? MESSAGE_RESPONSE : MESSAGE_REQUEST;
	buf_init(&whole, 16 << 20);
	buf_init(&pieces, 16 << 20);
	read_all(data + 1, size - 1, kind, size, &whole);
	read_all(data + 1, size - 1, kind, (size_t)(data[0] >> 1) + 1, &pieces);
	if (whole.len != pieces.len ||
	    (whole.len && memcmp(whole.data, pieces.data, whole.len) != 0))
		abort();
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
