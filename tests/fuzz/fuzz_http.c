/* Any bytes as HTTP messages, one behind the other: no crash, and how they are
 * cut into reads makes no difference. Its first byte: bit 0 says whose, a
 * client's or an upstream's; the rest how large the reads are. */
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

struct stream {
	llhttp_type_t type;
	struct message m;
	struct arena mem;
	bool over; /* refused, or a message that ends with the stream */
};

static void begin(struct stream *s)
{
	arena_init(&s->mem);
	message_init(&s->m, s->type);
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

static void read_all(const uint8_t *data, size_t size, llhttp_type_t type,
		     size_t piece, struct buf *out)
{
	struct stream s = {.type = type};

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
	llhttp_type_t type;
	struct buf whole, pieces;

	if (size < 2)
		return 0;
	type = data[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST;
	buf_init(&whole, 16 << 20);
	buf_init(&pieces, 16 << 20);
	read_all(data + 1, size - 1, type, size, &whole);
	read_all(data + 1, size - 1, type, (size_t)(data[0] >> 1) + 1, &pieces);
	if (whole.len != pieces.len ||
	    (whole.len && memcmp(whole.data, pieces.data, whole.len) != 0))
		abort();
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
