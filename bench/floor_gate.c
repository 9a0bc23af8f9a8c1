#include "floor.h"
#include "floor_gate.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { LOG_SIZE = 64 * 1024, LINE_MAX = 512, BUCKETS = 64 };

static int log_fd = -1;
static char lines[LOG_SIZE];
static size_t n_lines;
static uint64_t counts[6], times[BUCKETS]; /* by status / 100; by log2 of ns */
static char date[32];
static uint64_t date_second = UINT64_MAX;

static char *put(char *to, const char *text, size_t n)
{
	memcpy(to, text, n);
	return to + n;
}

#define PUT(to, text) put(to, text, sizeof(text) - 1)

static char *put_number(char *to, uint64_t n)
{
	char digits[20], *p = digits + sizeof digits;

	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return put(to, p, (size_t)(digits + sizeof digits - p));
}

/* What may be in a name, and in a value. */
static bool name_char[256], value_char[256];

static void fill_tables(void)
{
	for (int c = 1; c < 256; c++) {
		name_char[c] =
			c < 128 && (isalnum(c) || strchr("!#$%&'*+-.^_`|~", c));
		value_char[c] = c == '\t' || (c >= ' ' && c != 127);
	}
}

void gate_open(const char *log)
{
	log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log_fd < 0) {
		perror("floor: the log");
		exit(1);
	}
	fill_tables();
}

void gate_flush(void)
{
	if (n_lines && write(log_fd, lines, n_lines) < 0)
		exit(1);
	n_lines = 0;
}

static void make_id(char id[GATE_ID])
{
	static uint64_t state = 0x9e3779b97f4a7c15;
	uint64_t x = 0;

	for (int i = 0; i < GATE_ID; i++) {
		if (i % 16 == 0) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			x = state;
		}
		id[i] = "0123456789abcdef"[x & 15];
		x >>= 4;
	}
}

/* A word of the request line, cut where it is too long. */
static const char *copy_word(const char *p, char *to, size_t room)
{
	const char *end = strchr(p, ' ');
	size_t n = (size_t)(end - p);

	n = n < room ? n : room - 1;
	memcpy(to, p, n);
	to[n] = 0;
	return end + 1;
}

/* Of one hop alone: not passed on. */
static bool is_hops(const char *name, size_t n)
{
	static const struct {
		size_t n;
		const char *name;
	} all[] = {{2, "te"},
		   {7, "trailer"},
		   {7, "upgrade"},
		   {10, "connection"},
		   {10, "keep-alive"},
		   {12, "x-request-id"},
		   {16, "proxy-connection"}};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].n == n && strncasecmp(all[i].name, name, n) == 0)
			return true;
	return false;
}

/* Copies the fields from p on, each looked at as whoever passes them on must;
 * NULL for a head that is none. */
static char *put_fields(char *to, const char *p, const char *end)
{
	while (p < end && *p != '\r') {
		const char *name = p, *value;

		while (name_char[(unsigned char)*p])
			p++;
		if (p == name || *p != ':')
			return NULL;
		value = p + 1;
		for (p = value; value_char[(unsigned char)*p];)
			p++;
		if (p[0] != '\r' || p[1] != '\n')
			return NULL;
		p += 2;
		if (!is_hops(name, (size_t)(value - 1 - name)))
			to = put(to, name, (size_t)(p - name));
	}
	return p + 2 == end ? PUT(to, "\r\n") : NULL;
}

size_t gate_request(struct gate *g, const char *p, size_t head, size_t size,
		    char *out, uint64_t *ret_now)
{
	size_t line = (size_t)((char *)memchr(p, '\n', head) - p) + 1;
	char *to = put(out, p, line);

	g->since = *ret_now = now_ns();
	g->in = size;
	make_id(g->id);
	copy_word(copy_word(p, g->method, sizeof g->method), g->path,
		  sizeof g->path);
	to = PUT(to, "X-Forwarded-For: 127.0.0.1\r\n"
		     "X-Forwarded-Proto: http\r\nX-Request-Id: ");
	to = put(to, g->id, GATE_ID);
	to = PUT(to, "\r\n");
	to = put_fields(to, p + line, p + head);
	return to ? (size_t)(to - out) : 0;
}

static void log_line(const struct gate *g, unsigned status, size_t out,
		     uint64_t took, uint64_t now)
{
	char *to = lines + n_lines;

	if (now / 1000000000 != date_second) {
		time_t t = time(NULL);
		struct tm tm;

		strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ",
			 gmtime_r(&t, &tm));
		date_second = now / 1000000000;
	}
	to = PUT(to, "{\"time\":\"");
	to = put(to, date, strlen(date));
	to = PUT(to, "\",\"status\":");
	to = put_number(to, status);
	to = PUT(to, ",\"us\":");
	to = put_number(to, took / 1000);
	to = PUT(to, ",\"in\":");
	to = put_number(to, g->in);
	to = PUT(to, ",\"out\":");
	to = put_number(to, out);
	to = PUT(to, ",\"method\":\"");
	to = put(to, g->method, strlen(g->method));
	to = PUT(to, "\",\"path\":\"");
	to = put(to, g->path, strlen(g->path));
	to = PUT(to, "\",\"peer\":\"");
	to = put(to, g->peer, strlen(g->peer));
	to = PUT(to, "\",\"request_id\":\"");
	to = put(to, g->id, GATE_ID);
	to = PUT(to, "\"}\n");
	n_lines = (size_t)(to - lines);
	if (n_lines > LOG_SIZE - LINE_MAX)
		gate_flush();
}

size_t gate_answer(const struct gate *g, const char *p, size_t head,
		   size_t size, char *out, uint64_t *ret_now)
{
	size_t line = (size_t)((char *)memchr(p, '\n', head) - p) + 1;
	unsigned status = (unsigned)atoi(p + sizeof "HTTP/1.1");
	uint64_t now = now_ns(), took = now - g->since;
	char *to = put(out, p, line);

	to = PUT(to, "X-Request-Id: ");
	to = put(to, g->id, GATE_ID);
	to = PUT(to, "\r\n");
	to = put_fields(to, p + line, p + head);
	if (!to)
		return 0;
	counts[status / 100 % 6]++;
	times[took ? 63 - __builtin_clzll(took) : 0]++;
	log_line(g, status, size - head, took, now);
	*ret_now = now;
	return (size_t)(to - out);
}
