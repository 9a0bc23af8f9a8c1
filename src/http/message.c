#include "http/message.h"

#include "core/mem.h"

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
	struct message *m = parser->data;

	m->head.first = (struct str){at, n};
	return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
	struct message *m = parser->data;
	struct head *h = &m->head;

	if (m->head_done) { /* a trailer: counted, and dropped */
		m->extra += (uint32_t)n;
		return m->extra > m->extra_max ? HPE_USER : 0;
	}
	if (h->n == h->cap)
		return HPE_USER;
	h->drop[h->n] = 0;
	h->headers[h->n++] = (struct http_header){{at, n}, {at, 0}};
	return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
	struct message *m = parser->data;
	struct head *h = &m->head;

	if (m->head_done)
		return on_field(parser, at, n);
	h->headers[h->n - 1].value = str_trim((struct str){at, n});
	return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
	struct message *m = parser->data;
	struct head *h = &m->head;
	bool response = parser->type == HTTP_RESPONSE;
	int rc;

	h->minor = parser->http_minor;
	h->method = parser->method;
	h->status = response ? parser->status_code : 0;
	rc = head__judge(h, response);
	if (rc) {
		m->refuse = (unsigned)rc;
		return -1;
	}
	/* What an Upgrade or a 101 means is for us to say. */
	parser->upgrade = 0;
	h->no_body = response && (m->to_head || h->status < 200 ||
				  h->status == 204 || h->status == 304);
	h->until_eof =
		response && !h->no_body && !h->chunked && h->content_length < 0;
	return h->no_body ? 1 : 0;
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
	.on_url = on_url,
	.on_status = on_url,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_piece,
	.on_chunk_extension_name = on_extension,
	.on_chunk_extension_value = on_extension,
	.on_message_complete = on_complete,
};

void message_init(struct message *m, llhttp_type_t type)
{
	memset(m, 0, sizeof *m);
	llhttp_init(&m->parser, type, &settings);
	m->parser.data = m;
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

/* The whole head lies at p: llhttp takes it apart in one go. */
static int parse(struct message *m, struct arena *mem, const char *p, size_t n)
{
	bool response = m->parser.type == HTTP_RESPONSE;
	struct head *h = &m->head;
	const char *eol = memchr(p, '\r', n);
	llhttp_errno_t rc;
	int status;

	h->method = HTTP_GET;
	status = head__first_line(p, (size_t)(eol - p), response);
	if (status)
		return refuse(m, status);
	h->cap = m->scan.lines - 1;
	h->headers = arena_alloc(mem, h->cap * sizeof *h->headers + h->cap);
	h->drop = (uint8_t *)(h->headers + h->cap);
	rc = llhttp_execute(&m->parser, p, n);
	if (m->refuse)
		return MESSAGE_REFUSED;
	if (rc != HPE_OK && !m->complete)
		return refuse(m, 400);
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
	m->extra_max = max->total;
	*ret_used = m->scan.at - before;
	text += m->scan.begin;
	len = m->scan.at - m->scan.begin;
	if (m->parser.type == HTTP_REQUEST) {
		char *copy = arena_alloc(mem, len);

		memcpy(copy, text, len);
		text = copy;
	}
	return parse(m, mem, text, len);
}

size_t message_body(struct message *m, const char *p, size_t n)
{
	llhttp_errno_t rc;

	if (m->complete || m->refuse)
		return 0;
	if (llhttp_get_errno(&m->parser) == HPE_PAUSED)
		llhttp_resume(&m->parser);
	rc = llhttp_execute(&m->parser, p, n);
	if (rc == HPE_OK)
		return n;
	if (rc == HPE_PAUSED)
		return (size_t)(llhttp_get_error_pos(&m->parser) - p);
	m->refuse = rc == HPE_USER ? 431 : 400;
	return n;
}

bool message_eof(struct message *m)
{
	if (m->head_done && !m->complete && m->head.until_eof)
		m->complete = true;
	return m->complete;
}
