/* test_http_pair.h: a client and the upstream that its requests are passed on
 * to, both played by the test. */
#ifndef TEST_HTTP_PAIR_H
#define TEST_HTTP_PAIR_H

#include "test_http_kit.h"

#include "http/internal.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"
#define OK(body_length)                                                        \
	"HTTP/1.1 200 OK\r\nContent-Length: " body_length "\r\n\r\n"

/* One client, one connection to the upstream. */
struct pair {
	int fd, up;
	struct ear *ear, *up_ear;
};

static void pair_open(struct pair *p)
{
	kit_upstream();
	kit_open(serve_proxy);
	p->fd = dial();
	p->up = -1;
	p->ear = new_ear();
	p->up_ear = new_ear();
}

static void pair_close(struct pair *p)
{
	close(p->fd);
	if (p->up >= 0)
		close(p->up);
	free(p->ear);
	free(p->up_ear);
}

/* Sends text as the client, until the upstream has heard `until`. */
static void ask(struct pair *p, const char *text, const char *until)
{
	say(p->fd, text);
	if (p->up < 0)
		p->up = up_accept();
	forget(p->up_ear);
	hear(p->up, p->up_ear, until);
}

static void answer(struct pair *p, const char *text, const char *until)
{
	forget(p->ear);
	say(p->up, text);
	hear(p->fd, p->ear, until);
}

static enum http_proxy_end last_end(void)
{
	assert_true(kit->n_ends > 0);
	return kit->ends[kit->n_ends - 1];
}

#endif
