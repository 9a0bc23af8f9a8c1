#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_begin(struct answer *a)
{
	a->state = ANSWER_HEAD;
	a->status = 0;
	a->close = a->last = false;
	a->left = a->n_line = a->n_text = 0;
}

static void begin_body(struct answer *a)
{
	if (a->state != ANSWER_HEAD)
		return; /* in chunks */
	a->state = a->left ? ANSWER_BODY : ANSWER_WHOLE;
}

/* One line of the head, or around a chunk. */
static void on_head_line(struct answer *a, bool *in_chunks)
{
	if (!a->status) {
		if (sscanf(a->line, "HTTP/1.1 %u", &a->status) != 1)
			a->state = ANSWER_BAD;
	} else if (strncasecmp(a->line, "content-length:", 15) == 0) {
		a->left = strtoull(a->line + 15, NULL, 10);
	} else if (strncasecmp(a->line, "transfer-encoding:", 18) == 0) {
		*in_chunks = true;
	} else if (strncasecmp(a->line, "connection: close", 17) == 0) {
		a->close = true;
	}
}

static void on_line(struct answer *a)
{
	bool in_chunks = a->last;

	if (a->state == ANSWER_SIZE) {
		char *end;

		a->left = strtoull(a->line, &end, 16);
		a->last = a->left == 0;
		a->state = end == a->line ? ANSWER_BAD
			   : a->last	  ? ANSWER_TAIL
					  : ANSWER_CHUNK;
	} else if (a->state == ANSWER_TAIL) {
		a->state = a->n_line ? ANSWER_BAD
			   : a->last ? ANSWER_WHOLE
				     : ANSWER_SIZE;
	} else if (a->n_line) {
		/* Until the body begins `last` says that it is in chunks. */
		on_head_line(a, &in_chunks);
		a->last = in_chunks;
	} else if (in_chunks) {
		a->last = false;
		a->state = ANSWER_SIZE;
	} else {
		begin_body(a);
	}
}

static void take_byte(struct answer *a, char c)
{
	if (c != '\n') {
		if (c != '\r' && a->n_line < sizeof a->line - 1)
			a->line[a->n_line++] = c;
		return;
	}
	a->line[a->n_line] = 0;
	on_line(a);
	a->n_line = 0;
}

static size_t take_text(struct answer *a, const char *p, size_t n)
{
	size_t room = ANSWER_TEXT - a->n_text, kept;

	n = n < a->left ? n : (size_t)a->left;
	kept = n < room ? n : room;
	memcpy(a->text + a->n_text, p, kept);
	a->n_text += kept;
	a->left -= n;
	if (!a->left)
		a->state = a->state == ANSWER_BODY ? ANSWER_WHOLE : ANSWER_TAIL;
	return n;
}

enum answer_state answer_take(struct answer *a, const char *p, size_t n)
{
	while (n) {
		size_t took = 1;

		if (a->state == ANSWER_WHOLE)
			a->state = ANSWER_BAD;
		if (a->state == ANSWER_BAD)
			break;
		if (a->state == ANSWER_BODY || a->state == ANSWER_CHUNK)
			took = take_text(a, p, n);
		else
			take_byte(a, *p);
		p += took;
		n -= took;
	}
	return a->state;
}

bool answer_line(struct answer *a, char *line, size_t size)
{
	const char *end = memchr(a->text, '\n', a->n_text);
	size_t n = end ? (size_t)(end - a->text) : 0;

	if (!end)
		return false;
	snprintf(line, size, "%.*s", (int)n, a->text);
	a->n_text -= n + 1;
	memmove(a->text, end + 1, a->n_text);
	return true;
}
