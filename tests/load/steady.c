/* A steady load, every answer of which is checked: so many calls a second,
 * whether or not the last ones are answered, and so many streams at any time.
 *
 *   steady PORT STREAMS SEED
 *
 * Asks /call and /stream of 127.0.0.1:PORT, which are to answer {"id": ID} with
 * "ID REVISION", and {"id": ID, "n": N} with N lines "ID NUMBER REVISION". Of
 * the calls one in eight is on a connection of its own, the others are on kept
 * ones. None of the requests may be repeated by who gets them.
 *
 * Reads its orders, a line each:
 *
 *   clients N   N clients that ask again as soon as they are answered
 *   rate N      instead: N calls a second
 *   begun N     the revisions up to N may answer from now on
 *   live N      and what is asked from now on none below N
 *   mark        times are measured from now on
 *   report      prints how it went: a line of JSON
 *
 * When the orders end nothing more is asked; when all is answered it reports
 * once more, and ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "pool.h"
#include "tally.h"

enum {
	CALLS_MAX = 800, /* unanswered at once; those that are due then wait
			    here, and are measured from when they were due */
	LATE_S = 60,	 /* longer is no answer */
	REST_S = 3, /* kept connections rest this long at most: who would end
		       them waits longer */
	NEW_EVERY = 8,
	EVENTS_LEAST = 10,
	EVENTS_MOST = 40,
};

static const uint64_t SECOND = 1000000000;

static struct sockaddr_in address;
static int epoll;
static uint64_t seed, last_id;
static struct tally told;

static struct {
	unsigned rate, clients, streams;
	unsigned begun, live;
	bool ending;
	uint64_t next_ns;
} order = {.begun = 1, .live = 1};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint32_t dice(uint32_t sides)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % sides;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "steady: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void raise_limit(void)
{
	struct rlimit all;

	if (getrlimit(RLIMIT_NOFILE, &all))
		return;
	all.rlim_cur = all.rlim_max;
	setrlimit(RLIMIT_NOFILE, &all);
}

/* ---- one client ---- */

static void over(struct client *c)
{
	if (c->stream)
		told.streams_open--;
	else
		told.calls_open--;
}

static void fail(struct client *c, const char *what, uint64_t *counter)
{
	const struct answer *a = &c->answer;
	char words[400];

	++*counter;
	snprintf(words, sizeof words,
		 "%s %llu, line %u of %u, of revision %u (%u..%u): %s; "
		 "status %u '%.*s'",
		 c->stream ? "stream"
		 : c->only ? "call on a new connection"
			   : "call",
		 (unsigned long long)c->id, c->next, c->n, c->revision, c->low,
		 order.begun, what, a->status, (int)a->n_text, a->text);
	tally_say(&told, words);
	over(c);
	pool_release(c);
}

/* Begun ones were cut. */
static void lose(struct client *c, const char *what)
{
	fail(c, what,
	     c->stream && c->answer.status == 200 ? &told.cut : &told.failed);
}

static void send_it(struct client *c)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	char body[64], text[256];
	int n;

	n = c->stream ? snprintf(body, sizeof body,
				 "{\"id\": \"%llu\", \"n\": %u}",
				 (unsigned long long)c->id, c->n)
		      : snprintf(body, sizeof body, "{\"id\": \"%llu\"}",
				 (unsigned long long)c->id);
	n = snprintf(text, sizeof text,
		     "POST /%s HTTP/1.1\r\nHost: steady\r\n%s"
		     "Content-Type: application/json\r\n"
		     "Content-Length: %d\r\n\r\n%s",
		     c->stream ? "stream" : "call",
		     c->only ? "Connection: close\r\n" : "", n, body);
	c->state = ASKED;
	if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e))
		die("epoll_ctl");
	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		lose(c, "it could not be sent");
}

/* From many addresses: of one the ports would be used up by connections that
 * have ended a minute ago. */
static void bind_it(const struct client *c)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	int one = 1;

	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + c->id % 128);
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
		   sizeof one);
	if (bind(c->fd, (struct sockaddr *)&from, sizeof from))
		die("bind");
}

static void connect_it(struct client *c)
{
	struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e))
		die("a socket");
	bind_it(c);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->state = CONNECTING;
	told.connections++;
	if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 &&
	    errno != EINPROGRESS)
		fail(c, strerror(errno), &told.refused);
}

static void on_connected(struct client *c)
{
	socklen_t len = sizeof(int);
	int error = 0;

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error)
		fail(c, strerror(error), &told.refused);
	else
		send_it(c);
}

static void ask(bool stream, uint64_t due_ns)
{
	bool only = stream || dice(NEW_EVERY) == 0;
	/* The one that has rested longest: it may be from before a change. */
	struct client *c = only ? NULL : pool_wake();
	bool kept = c;

	if (!c)
		c = pool_take();
	if (!c) {
		errno = EAGAIN;
		die("clients");
	}
	c->stream = stream;
	c->only = only;
	c->id = ++last_id;
	c->due_ns = due_ns;
	c->low = order.live;
	c->revision = c->next = 0;
	c->n = stream ? EVENTS_LEAST + dice(EVENTS_MOST - EVENTS_LEAST) : 1;
	answer_begin(&c->answer);
	told.asked++;
	if (stream)
		told.streams_open++;
	else
		told.calls_open++;
	if (kept)
		send_it(c);
	else
		connect_it(c);
}

/* ---- its answer ---- */

static bool is_right_line(struct client *c, const char *line)
{
	char want[64];
	unsigned revision = 0;
	int n = snprintf(want, sizeof want, "%llu ", (unsigned long long)c->id);

	if (c->stream)
		n += snprintf(want + n, sizeof want - (size_t)n, "%u ",
			      c->next);
	if (strncmp(line, want, (size_t)n) != 0 ||
	    sscanf(line + n, "%u", &revision) != 1)
		return false;
	if (!c->revision)
		c->revision = revision;
	c->next++;
	return c->revision == revision && revision >= c->low &&
	       revision <= order.begun;
}

static void answered(struct client *c, uint64_t now)
{
	tally_revision(&told, c->revision);
	if (c->stream) {
		told.streams++;
	} else {
		told.right++;
		tally_time(&told, (now - c->due_ns) / 1000);
	}
	over(c);
	if (c->only || c->answer.close) {
		pool_release(c);
	} else {
		pool_rest(c, now);
	}
	/* Streams are begun again by the clock. */
	if (!c->stream && order.clients && !order.ending)
		ask(false, now);
}

static void on_bytes(struct client *c, const char *p, size_t n)
{
	enum answer_state state = answer_take(&c->answer, p, n);
	char line[64];

	if (c->answer.status && c->answer.status != 200) {
		/* With its words, if they have come. */
		fail(c, "no answer", &told.failed);
		return;
	}
	if (state == ANSWER_BAD) {
		lose(c, "no HTTP");
		return;
	}
	while (answer_line(&c->answer, line, sizeof line)) {
		told.events += c->stream;
		if (!is_right_line(c, line)) {
			tally_say(&told, line);
			lose(c, "the line before is wrong");
			return;
		}
	}
	if (state != ANSWER_WHOLE)
		return;
	if (c->next != c->n || c->answer.n_text)
		lose(c, "it ended early");
	else
		answered(c, now_ns());
}

static void on_readable(struct client *c)
{
	static char buffer[16384];
	ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (c->state == RESTING)
		pool_release(c);
	else if (n > 0)
		on_bytes(c, buffer, (size_t)n);
	else
		lose(c, n ? strerror(errno) : "the connection ended");
}

/* ---- all of them ---- */

static void look_after(void)
{
	uint64_t now = now_ns();

	for (size_t i = 0; i < pool_n; i++) {
		struct client *c = &pool[i];

		if (c->state == RESTING &&
		    (order.ending || now - c->rests_ns > REST_S * SECOND))
			pool_release(c);
		else if ((c->state == ASKED || c->state == CONNECTING) &&
			 now - c->due_ns > LATE_S * SECOND)
			lose(c, "too late");
	}
}

/* Asks what is due. */
static void go_on(void)
{
	uint64_t now = now_ns();

	/* Each once: those who are refused come again in the next turn. */
	for (unsigned n = told.streams_open; n < order.streams; n++)
		ask(true, now);
	for (unsigned n = told.calls_open; n < order.clients; n++)
		ask(false, now);
	while (order.rate && order.next_ns <= now &&
	       told.calls_open < CALLS_MAX) {
		ask(false, order.next_ns);
		order.next_ns += dice(2000) * (SECOND / 1000) / order.rate;
	}
}

static void report(void)
{
	uint64_t now = now_ns();

	told.behind_us = order.rate && order.next_ns < now
				 ? (now - order.next_ns) / 1000
				 : 0;
	tally_report(&told);
}

static void take_order(const char *line)
{
	unsigned n = 0;

	if (sscanf(line, "clients %u", &n) == 1) {
		order.clients = n;
		order.rate = 0;
	} else if (sscanf(line, "rate %u", &n) == 1) {
		order.clients = 0;
		order.rate = n;
		order.next_ns = now_ns();
	} else if (sscanf(line, "begun %u", &n) == 1) {
		order.begun = n;
	} else if (sscanf(line, "live %u", &n) == 1) {
		order.live = n;
	} else if (strcmp(line, "mark") == 0) {
		tally_mark(&told);
	} else {
		report();
	}
}

static void on_orders(void)
{
	static char text[1024];
	static size_t len;
	ssize_t n = read(0, text + len, sizeof text - len - 1);
	char *end;

	if (n <= 0) {
		order.ending = true;
		order.rate = order.clients = order.streams = 0;
		epoll_ctl(epoll, EPOLL_CTL_DEL, 0, NULL);
		return;
	}
	len += (size_t)n;
	text[len] = 0;
	while ((end = strchr(text, '\n'))) {
		*end = 0;
		take_order(text);
		len -= (size_t)(end + 1 - text);
		memmove(text, end + 1, len + 1);
	}
}

static void on_event(const struct epoll_event *e)
{
	struct client *c = e->data.ptr;

	if (!c)
		on_orders();
	else if (c->state == CONNECTING)
		on_connected(c);
	else if (c->state != FREE)
		on_readable(c);
}

int main(int argc, char **argv)
{
	struct epoll_event e = {.events = EPOLLIN}, events[64];
	uint64_t looked = 0;

	if (argc != 4) {
		fprintf(stderr, "steady PORT STREAMS SEED\n");
		return 2;
	}
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	order.streams = (unsigned)atoi(argv[2]);
	seed = strtoull(argv[3], NULL, 10) | 1;
	raise_limit();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &e))
		die("epoll");
	while (!order.ending || told.calls_open || told.streams_open) {
		int n = epoll_wait(epoll, events, 64, 1);

		pool_turn();
		for (int i = 0; i < n; i++)
			on_event(&events[i]);
		if (now_ns() - looked > SECOND / 4) {
			looked = now_ns();
			look_after();
		}
		if (!order.ending)
			go_on();
	}
	report();
	return 0;
}
