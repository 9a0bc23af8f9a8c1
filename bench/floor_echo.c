/* floor_echo.c: answers with what it was sent, or with what a model says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "floor.h"
#include "floor_call.h"

enum { HEAD_ROOM = 256, CALLS_MAX = 8, GATHER_MS = 5, NS_PER_MS = 1000000 };

static struct call *calls[CALLS_MAX];
static size_t n_calls;
static struct call *batch;		 /* what those in `rows` are for */
static struct side *rows[CALL_ROWS_MAX]; /* NULL: has gone since */
static size_t n_rows;
static uint64_t batch_due; /* now_ns() */

void echo_open(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc && n_calls < CALLS_MAX; i += 2)
		calls[n_calls++] = call_open(argv[0], argv[i], argv[i + 1]);
}

/* The model that "POST /call/0 HTTP/1.1" names, of those at /call/: NULL for
 * another path. False if there is no such model. */
static bool named(const char *head, const char *at, struct call **ret)
{
	const char *path = strchr(head, ' ');
	size_t n = strlen(at);
	unsigned long which;

	*ret = NULL;
	if (!path || strncmp(path + 1, at, n) != 0)
		return true;
	which = strtoul(path + 1 + n, NULL, 10);
	if (which >= n_calls)
		return false;
	*ret = calls[which];
	return true;
}

static bool reply(struct side *s, const char *text, size_t n)
{
	static char out[BUFFER];
	int head;

	if (n > sizeof out - HEAD_ROOM)
		return false;
	head = snprintf(out, HEAD_ROOM,
			"HTTP/1.1 200 OK\r\nContent-Type: "
			"application/octet-stream\r\nContent-Length: "
			"%zu\r\n\r\n",
			n);
	if (text)
		memcpy(out + head, text, n);
	else
		memset(out + head, 'x', n);
	return send_all(s->fd, out, (size_t)head + n);
}

/* Whoever cannot be answered has gone, which its next event tells. */
void echo_run_batch(void)
{
	call_rows(batch, n_rows);
	for (size_t i = 0; i < n_rows; i++) {
		size_t n;
		const char *text = call_told(batch, i, &n);

		if (rows[i] && text)
			reply(rows[i], text, n);
	}
	n_rows = 0;
}

/* `head` names a model that "/batch/N/SIZE" has put there. */
static bool gather(struct side *s, struct call *c, const char *head,
		   const char *body, size_t n)
{
	size_t size = strtoul(strstr(head, "/batch/") + strlen("/batch/0/"),
			      NULL, 10);

	if (!size || size > CALL_ROWS_MAX || (n_rows && c != batch) ||
	    !call_put(c, n_rows, body, n))
		return false;
	if (!n_rows)
		batch_due = now_ns() + GATHER_MS * NS_PER_MS;
	batch = c;
	rows[n_rows++] = s;
	if (n_rows >= size)
		echo_run_batch();
	return true;
}

int echo_wait_ms(void)
{
	uint64_t at;

	if (!n_rows)
		return -1;
	at = now_ns();
	return at < batch_due ? (int)((batch_due - at) / NS_PER_MS) + 1 : 0;
}

static bool answer(struct side *s, const char *p, size_t head, size_t size)
{
	struct call *called, *asked, *gathered;
	size_t body = size - head;
	const char *text = size > head ? p + head : NULL;

	if (!named(p, "/call/", &called) || !named(p, "/json/", &asked) ||
	    !named(p, "/batch/", &gathered))
		return false;
	if (gathered)
		return gather(s, gathered, p, p + head, body);
	if (called)
		call_once(called);
	if (asked) {
		if (!call_put(asked, 0, p + head, body))
			return false;
		call_rows(asked, 1);
		if (!(text = call_told(asked, 0, &body)))
			return false;
	}
	if (!body && strncmp(p, "GET /", 5) == 0)
		body = strtoul(p + 5, NULL, 10);
	return reply(s, text, body ? body : 2);
}

bool echo(struct side *s, char *p, size_t n)
{
	size_t size, head = 0;

	if (s->have || !(size = message_size(p, n, &head)) || size > n) {
		if (!s->message && !(s->message = malloc(BUFFER)))
			die("memory");
		if (n > BUFFER - s->have)
			return false;
		memcpy(s->message + s->have, p, n);
		s->have += n;
		size = message_size(s->message, s->have, &head);
		if (!size || size > s->have)
			return true;
		s->have = 0;
		p = s->message;
	}
	return answer(s, p, head, size);
}

void echo_forget(const struct side *s)
{
	for (size_t i = 0; i < n_rows; i++)
		if (rows[i] == s)
			rows[i] = NULL;
}
