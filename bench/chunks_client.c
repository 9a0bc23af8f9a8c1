/* Their reader. */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "chunks.h"

enum {
	SLOW_BYTES = 1024, /* that a slow reader takes at once */
	SLOW_EVERY_MS = 25,
	SLOW_ROOM = 16 * 1024, /* of its socket */
	BEGIN_MS = 20 * 1000,  /* until all streams must have begun */
	SETTLE_MS = 500,       /* and then have settled */
};

struct reader {
	int fd;
	enum { IN_HEAD, IN_SIZE, IN_DATA, IN_TAIL } state;
	uint64_t left;	   /* IN_DATA: of this chunk */
	char event[EVENT]; /* as far as it has come */
	size_t have;
	uint32_t number; /* of the next one */
	bool begun;
};

static struct {
	uint32_t *late_ns; /* of each event counted */
	size_t n, max;
	size_t n_begun, n_bad;
	bool counts;
} taken;

static void ask(int fd, const char *path)
{
	int n = snprintf(chunks_buffer, CHUNKS_BUFFER,
			 "GET %s HTTP/1.1\r\nHost: localhost\r\n"
			 "Accept: text/event-stream\r\n\r\n",
			 path);

	if (send(fd, chunks_buffer, (size_t)n, MSG_NOSIGNAL) != n)
		chunks_die("asking");
}

/* A whole one, at its time of arrival. */
static void take_event(struct reader *r, uint64_t now)
{
	static const char text[] = " a token of text\n\n";
	uint64_t stamp = strtoull(r->event + 6, NULL, 16), late = now - stamp;

	if (memcmp(r->event, "data: ", 6) != 0 ||
	    memcmp(r->event + 31, text, sizeof text - 1) != 0 || now < stamp ||
	    strtoul(r->event + 23, NULL, 16) != r->number) {
		taken.n_bad++;
	} else if (taken.counts && taken.n < taken.max) {
		taken.late_ns[taken.n++] =
			late > UINT32_MAX ? UINT32_MAX : (uint32_t)late;
	}
	r->number++;
	r->have = 0;
	if (!r->begun)
		taken.n_begun++;
	r->begun = true;
}

static void take_data(struct reader *r, const char *p, size_t n, uint64_t now)
{
	while (n) {
		size_t some = EVENT - r->have;

		some = some < n ? some : n;
		memcpy(r->event + r->have, p, some);
		r->have += some;
		p += some;
		n -= some;
		if (r->have == EVENT)
			take_event(r, now);
	}
}

static size_t take_head(struct reader *r, const char *p, size_t n)
{
	const char *end = memmem(p, n, "\r\n\r\n", 4);

	if (!end)
		chunks_give_up("a head came in two pieces");
	if (n < 12 || memcmp(p, "HTTP/1.1 200", 12) != 0) {
		fprintf(stderr, "chunks: answered: %.*s\n", (int)n, p);
		exit(1);
	}
	r->state = IN_SIZE;
	return (size_t)(end - p) + 4;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static void take(struct reader *r, const char *p, size_t n, uint64_t now)
{
	size_t at = 0, some;

	while (at < n) {
		switch (r->state) {
		case IN_HEAD:
			at += take_head(r, p, n);
			break;
		case IN_SIZE:
			if (digit(p[at]) >= 0)
				r->left = r->left * 16 + (uint64_t)digit(p[at]);
			else if (p[at] == '\n')
				r->state = IN_DATA;
			at++;
			break;
		case IN_DATA:
			if (!r->left)
				chunks_give_up("a stream has ended");
			some = r->left < n - at ? r->left : n - at;
			take_data(r, p + at, some, now);
			at += some;
			r->left -= some;
			if (!r->left)
				r->state = IN_TAIL;
			break;
		case IN_TAIL:
			if (p[at++] == '\n')
				r->state = IN_SIZE;
			break;
		}
	}
}

static void read_some(struct reader *r)
{
	ssize_t n = recv(r->fd, chunks_buffer, CHUNKS_BUFFER, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		chunks_give_up("a stream was cut");
	take(r, chunks_buffer, (size_t)n, chunks_now_ns());
}

/* Reads little and now and then from the floods. */
static void read_slowly(const int *fds, size_t n, uint64_t now)
{
	static uint64_t next;

	if (now < next)
		return;
	next = now + SLOW_EVERY_MS * 1000000ULL;
	for (size_t i = 0; i < n; i++)
		if (recv(fds[i], chunks_buffer, SLOW_BYTES, MSG_DONTWAIT) == 0)
			chunks_give_up("a slow reader's stream was ended");
}

/* Until `until`; with wait_all only until all have begun. */
static void read_until(uint64_t until, bool wait_all, size_t n_streams,
		       const int *slow, size_t n_slow)
{
	struct epoll_event events[CHUNKS_EVENTS];
	uint64_t now;

	while ((now = chunks_now_ns()) < until) {
		uint64_t wake =
			n_slow ? now + SLOW_EVERY_MS * 1000000ULL / 4 : until;
		int n = chunks_wait_for(events, wake < until ? wake : until);

		for (int i = 0; i < n; i++)
			read_some(events[i].data.ptr);
		read_slowly(slow, n_slow, now);
		if (wait_all && taken.n_begun == n_streams)
			return;
	}
	if (wait_all)
		chunks_give_up("not all streams have begun in time");
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double late_us(double share)
{
	size_t at = (size_t)((double)taken.n * share);

	return taken.n ? taken.late_ns[at < taken.n ? at : taken.n - 1] / 1e3
		       : 0;
}

/* How many were late by 1 us * LATE_STEP^i, or more and less than the next: so
 * that those of several runs can be put together. */
enum { LATE_BINS = 300 };
static const double LATE_STEP = 1.05;

static void print_late(void)
{
	static size_t bins[LATE_BINS];

	for (size_t i = 0; i < taken.n; i++) {
		double us = taken.late_ns[i] / 1e3;
		size_t bin = us > 1 ? (size_t)(log(us) / log(LATE_STEP)) : 0;

		bins[bin < LATE_BINS ? bin : LATE_BINS - 1]++;
	}
	for (size_t i = 0; i < LATE_BINS; i++)
		printf("%s%zu", i ? "," : "", bins[i]);
}

static void report(uint64_t spent_ns)
{
	qsort(taken.late_ns, taken.n, sizeof *taken.late_ns, by_size);
	printf("{\"chunks\":%zu,\"seconds\":%.6f,\"bad\":%zu,\"p50_us\":%.1f,"
	       "\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"late\":[",
	       taken.n, (double)spent_ns / 1e9, taken.n_bad, late_us(0.5),
	       late_us(0.99), late_us(0.999), late_us(1));
	print_late();
	puts("]}");
}

/* argv: PORT PATH STREAMS RATE SECONDS [SLOW_PATH SLOW] */
void chunks_client(char **argv)
{
	size_t n_streams = strtoul(argv[2], NULL, 10);
	size_t n_slow = argv[5] ? strtoul(argv[6], NULL, 10) : 0;
	double seconds = atof(argv[4]);
	struct reader *readers = calloc(n_streams, sizeof *readers);
	int *slow = calloc(n_slow + 1, sizeof *slow), room = SLOW_ROOM;
	uint64_t start;

	taken.max =
		(size_t)((double)n_streams * atof(argv[3]) * (seconds + 1) * 2);
	taken.late_ns = calloc(taken.max, sizeof *taken.late_ns);
	if (!readers || !slow || !taken.late_ns)
		chunks_die("memory");
	for (size_t i = 0; i < n_slow; i++) {
		slow[i] = chunks_connect_to(argv[0]);
		setsockopt(slow[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
		ask(slow[i], argv[5]);
	}
	for (size_t i = 0; i < n_streams; i++) {
		readers[i].fd = chunks_connect_to(argv[0]);
		chunks_watch(readers[i].fd, &readers[i]);
		ask(readers[i].fd, argv[1]);
	}
	read_until(chunks_now_ns() + BEGIN_MS * 1000000ULL, true, n_streams,
		   slow, n_slow);
	read_until(chunks_now_ns() + SETTLE_MS * 1000000ULL, false, n_streams,
		   slow, n_slow);
	printf("begin\n");
	fflush(stdout);
	taken.counts = true;
	start = chunks_now_ns();
	read_until(start + (uint64_t)(seconds * 1e9), false, n_streams, slow,
		   n_slow);
	report(chunks_now_ns() - start);
}
