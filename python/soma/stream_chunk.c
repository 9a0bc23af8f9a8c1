/* Streams: what a chunk looks like on its way.
 *
 * The first chunk decides. A client that accepts text/event-stream gets events
 * unless that chunk is bytes or the response has a content type of its own.
 * Where the response itself says text/event-stream, a first chunk that begins
 * with a field of an event, or is bytes, says that the user frames them.
 */
#include "stream.h"

#include <strings.h>

static bool is_bytes(PyObject *o)
{
	return PyBytes_Check(o) || PyByteArray_Check(o) ||
	       PyMemoryView_Check(o);
}

/* The value of the response's own content-type, from its header lines. */
static bool content_type(struct str lines, struct str *ret)
{
	static const char name[] = "content-type:";
	const char *p = lines.p, *end = lines.p + lines.n;

	while (p < end) {
		const char *eol = memchr(p, '\r', (size_t)(end - p));
		size_t n = (size_t)((eol ? eol : end) - p);

		if (n >= sizeof name - 1 &&
		    !strncasecmp(p, name, sizeof name - 1)) {
			*ret = str_trim((struct str){p + sizeof name - 1,
						     n - (sizeof name - 1)});
			return true;
		}
		p += n + 2;
	}
	return false;
}

static bool is_event_stream(struct str type)
{
	const struct str sse = STR("text/event-stream");

	return type.n >= sse.n && !strncasecmp(type.p, sse.p, sse.n);
}

static bool accepts_events(const struct request *r)
{
	struct str accept;

	if (!request_header(r, STR("accept"), &accept))
		return false;
	for (size_t i = 0; i < accept.n; i++)
		if (is_event_stream((struct str){accept.p + i, accept.n - i}))
			return true;
	return false;
}

/* Whether the user writes the events: "data: ...", ": a comment". */
static bool is_framed(PyObject *first)
{
	static const char *const fields[] = {
		"data:", "event:", "id:", "retry:", ":"};
	PyObject *bytes;
	bool framed = is_bytes(first);

	if (!PyUnicode_Check(first))
		return framed;
	bytes = PyUnicode_AsEncodedString(first, "utf-8", "replace");
	for (unsigned i = 0; bytes && i < ARRAY_LEN(fields); i++)
		if (str_starts((struct str){PyBytes_AsString(bytes),
					    (size_t)PyBytes_Size(bytes)},
			       str_of(fields[i])))
			framed = true;
	PyErr_Clear();
	Py_XDECREF(bytes);
	return framed;
}

void stream__choose(struct stream *st, PyObject *first)
{
	struct str type;

	if (content_type(st->reply.headers, &type)) {
		st->is_sse = is_event_stream(type);
		if (st->is_sse && !is_framed(first))
			st->form = STREAM_EVENTS;
		return;
	}
	if (is_bytes(first)) {
		st->reply.type = "application/octet-stream";
	} else if (accepts_events(st->request)) {
		st->is_sse = true;
		st->form = STREAM_EVENTS;
		st->reply.type = "text/event-stream; charset=utf-8";
	} else if (PyUnicode_Check(first)) {
		st->reply.type = "text/plain; charset=utf-8";
	} else {
		st->form = STREAM_LINES;
		st->reply.type = "application/x-ndjson";
	}
}

/* One event; a line of text for each of its lines, however they end. */
static void put_event(struct buf *b, struct str text)
{
	size_t from = 0;

	for (size_t i = 0; i <= text.n; i++) {
		if (i < text.n && text.p[i] != '\n' && text.p[i] != '\r')
			continue;
		buf_adds(b, "data: ");
		buf_add(b, text.p + from, i - from);
		buf_addc(b, '\n');
		if (i + 1 < text.n && text.p[i] == '\r' &&
		    text.p[i + 1] == '\n')
			i++;
		from = i + 1;
	}
	buf_addc(b, '\n');
}

static void put_bytes(struct stream *st, struct str bytes)
{
	if (st->form == STREAM_EVENTS && bytes.n)
		put_event(&st->bytes, bytes);
	else
		buf_add(&st->bytes, bytes.p, bytes.n);
}

static int put_json(struct stream *st, PyObject *chunk)
{
	struct buf text;
	int rc;

	if (st->form != STREAM_EVENTS) {
		rc = json_out(&st->bytes, chunk);
		if (!rc)
			buf_addc(&st->bytes, '\n');
		return rc;
	}
	buf_init(&text, SIZE_MAX / 4);
	rc = json_out(&text, chunk);
	if (!rc)
		put_event(&st->bytes, (struct str){text.data, text.len});
	buf_fini(&text);
	return rc;
}

int stream__put(struct stream *st, PyObject *chunk)
{
	PyObject *bytes;

	buf_reset(&st->bytes);
	if (PyUnicode_Check(chunk) && st->form != STREAM_LINES)
		bytes = PyUnicode_AsUTF8String(chunk);
	else if (is_bytes(chunk))
		bytes = PyBytes_FromObject(chunk);
	else
		return put_json(st, chunk);
	if (!bytes)
		return -1;
	put_bytes(st, (struct str){PyBytes_AsString(bytes),
				   (size_t)PyBytes_Size(bytes)});
	Py_DECREF(bytes);
	return 0;
}

void stream__put_error(const struct stream *st, struct str json, struct buf *b)
{
	if (!st->is_sse)
		return;
	if (json.n && json.p[json.n - 1] == '\n')
		json.n--;
	/* The user's own framing may have stopped within an event. */
	if (st->form == STREAM_RAW)
		buf_adds(b, "\n\n");
	buf_adds(b, "event: error\n");
	put_event(b, json);
}
