#include "http/message.h"

#include "core/mem.h"

/* Chunks are llhttp's. */

static int on_trailer(llhttp_t *parser, const char *at, size_t n)
{
	struct message *m = parser->data;

	(void)at;
	m->extra += (uint32_t)n; /* counted, and dropped */
	return m->extra > m->extra_max ? HPE_USER : 0;
}

static int on_piece(llhttp_t *parser, const char *at, size_t n)
{
	struct message *m = parser->data;

	m->body_bytes += n;
	return m->on_body(m, at, n) ? 0 : HPE_PAUSED;
}

static int on_extension(llhttp_t *parser, const char *at, size_t n)
{
	struct message *m = parser->data;

	(void)at;
	m->extra += (uint32_t)n + 1;
	return m->extra > m->extra_max ? HPE_USER : 0;
}

static int on_complete(llhttp_t *parser)
{
	struct message *m = parser->data;

	m->complete = true;
	return HPE_PAUSED; /* what follows is not ours */
}

static const llhttp_settings_t settings = {
	.on_header_field = on_trailer,
	.on_header_value = on_trailer,
	.on_body = on_piece,
	.on_chunk_extension_name = on_extension,
	.on_chunk_extension_value = on_extension,
	.on_message_complete = on_complete,
};

static void begin_chunks(struct message *m)
{
	static const char head[] = "POST / HTTP/1.1\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n";

	llhttp_init(&m->parser, HTTP_REQUEST, &settings);
	m->parser.data = m;
	m->extra_max = UINT32_MAX;
	llhttp_execute(&m->parser, head, sizeof head - 1);
	m->extra = 0;
}

static size_t feed_chunks(struct message *m, const char *p, size_t n)
{
	llhttp_errno_t rc;

	if (m->stalled)
		llhttp_resume(&m->parser);
	rc = llhttp_execute(&m->parser, p, n);
	m->stalled = rc == HPE_PAUSED;
	if (rc == HPE_OK)
		return n;
	if (rc == HPE_PAUSED)
		return (size_t)(llhttp_get_error_pos(&m->parser) - p);
	m->refuse = rc == HPE_USER ? 431 : 400;
	return n;
}

void message_init(struct message *m, enum message_kind kind)
{
	memset(m, 0, sizeof *m);
	m->kind = kind;
}

void message_fini(struct message *m)
{
	buf_fini(&m->partial);
}

static int refuse(struct message *m, int status)
{
	m->refuse = (unsigned)status;
	return MESSAGE_REFUSED;
}

/* How the end of the body is known: RFC 9112 6.3. */
static void begin_body(struct message *m, const struct head_max *max)
{
	struct head *h = &m->head;
	bool response = m->kind == MESSAGE_RESPONSE;

	h->no_body = response && (m->to_head || h->status < 200 ||
				  h->status == 204 || h->status == 304);
	h->until_eof =
		response && !h->no_body && !h->chunked && h->content_length < 0;
	if (!h->no_body && h->chunked)
		begin_chunks(m);
	else if (!h->no_body && h->content_length > 0)
		m->left = (uint64_t)h->content_length;
	else
		m->complete = !h->until_eof;
	m->extra_max = max->total;
}

/* The whole head lies at p. */
static int take_head(struct message *m, struct arena *mem,
		     const struct head_max *max, const char *p, size_t n)
{
	bool response = m->kind == MESSAGE_RESPONSE;
	struct head *h = &m->head;
	uint32_t most = m->scan.lines - 1;
	int status;

	h->headers = arena_alloc(mem, most * sizeof *h->headers + most);
	h->drop = (uint8_t *)(h->headers + most);
	status = head__split(h, p, n, response);
	if (!status)
		status = head__judge(h, response);
	if (status)
		return refuse(m, status);
	begin_body(m, max);
	m->head_done = true;
	return MESSAGE_HEAD;
}

int message_head(struct message *m, struct arena *mem,
		 const struct head_max *max, const char *p, size_t n,
		 size_t *ret_used)
{
	bool found = false, whole = m->partial.len == 0;
	size_t before = m->partial.len;
	const char *text = p;
	size_t len = n;
	int rc;

	if (!whole) {
		/* Only when the limits grew while it came. */
		if (buf_add(&m->partial, p, n))
			return refuse(m, 431);
		text = m->partial.data;
		len = m->partial.len;
	}
	rc = head__scan(&m->scan, max, text, len, &found);
	if (rc)
		return refuse(m, rc);
	if (!found) {
		if (whole) {
			/* The scan bounds it; one read more than the limits. */
			buf_init(&m->partial, (size_t)max->first + max->total +
						      2 * LANE_READ_SIZE);
			buf_add(&m->partial, p, n);
		}
		return MESSAGE_MORE;
	}
	*ret_used = m->scan.at - before;
	text += m->scan.begin;
	len = m->scan.at - m->scan.begin;
	if (m->kind == MESSAGE_REQUEST) {
		char *copy = arena_alloc(mem, len);

		memcpy(copy, text, len);
		text = copy;
	}
	return take_head(m, mem, max, text, len);
}

size_t message_body(struct message *m, const char *p, size_t n)
{
	bool counted = !m->head.until_eof;

	if (m->complete || m->refuse)
		return 0;
	if (m->head.chunked)
		return feed_chunks(m, p, n);
	m->stalled = false;
	if (counted)
		n = MIN(n, m->left);
	if (n) {
		m->body_bytes += n;
		m->left -= counted ? n : 0;
		m->stalled = !m->on_body(m, p, n);
	}
	m->complete = counted && !m->left && !m->stalled;
	return n;
}

bool message_eof(struct message *m)
{
	if (m->head_done && !m->complete && m->head.until_eof)
		m->complete = true;
	return m->complete;
}
