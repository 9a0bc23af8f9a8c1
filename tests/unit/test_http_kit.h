/* test_http_kit.h: a server, an upstream played by the test, and plain sockets
 * on one loop. Nothing blocks: waiting turns the loop. */
#ifndef TEST_HTTP_KIT_H
#define TEST_HTTP_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/mem.h"
#include "http/proxy.h"
#include "http/server.h"

enum { WAIT_MS = 5000 };

struct kit {
	uv_loop_t loop;
	struct lane lane;
	struct http_limits limits;
	struct http_server server;
	struct http_upstream up;
	int port;
	int up_fd; /* the upstream's listening socket */
	char up_path[64];
	bool server_closed, up_closed, has_up;

	unsigned handed, over, gone, logged;
	unsigned n_ends;
	enum http_proxy_end ends[64];
	struct http_req *req; /* the last handed out and not over */
	char targets[4096];   /* of all handed out, each with a space */
	char body[4096];      /* collected */
	size_t body_n;
	struct http_proxy_opts opts;
	void (*on_back)(struct http_req *req, enum http_proxy_end end);
};

static struct kit *kit; /* of the running test */

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

static void turn(void)
{
	uv_run(&kit->loop, UV_RUN_NOWAIT);
}

static inline void turn_for(unsigned ms)
{
	uint64_t end = now_ms() + ms;

	while (now_ms() < end) {
		turn();
		usleep(300);
	}
}

#define UNTIL(condition)                                                       \
	do {                                                                   \
		uint64_t end_ = now_ms() + WAIT_MS;                            \
		while (!(condition)) {                                         \
			turn();                                                \
			if (now_ms() > end_)                                   \
				fail_msg("waited in vain for %s", #condition); \
			usleep(50);                                            \
		}                                                              \
	} while (0)

static int tcp_listener(int *ret_port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (void *)&in, sizeof in), 0);
	assert_int_equal(listen(fd, 4096), 0);
	getsockname(fd, (void *)&in, &len);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

static int unix_listener(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	unlink(path);
	assert_int_equal(bind(fd, (void *)&un, sizeof un), 0);
	assert_int_equal(listen(fd, 64), 0);
	return fd;
}

static void kit_on_over(struct http_req *req)
{
	kit->over++;
	kit->gone += req->gone;
	if (kit->req == req)
		kit->req = NULL;
}

static void kit_on_log(struct http_req *req, void *data)
{
	(void)req, (void)data;
	kit->logged++;
}

/* To be called first by every on_request of a test. */
static void kit_note(struct http_req *req)
{
	size_t n = strlen(kit->targets);

	kit->handed++;
	kit->req = req;
	req->on_over = kit_on_over;
	snprintf(kit->targets + n, sizeof kit->targets - n, "%.*s ",
		 (int)req->target.n, req->target.p);
}

static void kit_on_end(struct http_req *req, enum http_proxy_end end,
		       void *data)
{
	(void)data;
	if (kit->n_ends < 64)
		kit->ends[kit->n_ends] = end;
	kit->n_ends++;
	if (end == PROXY_DONE || end == PROXY_GONE || end == PROXY_CUT)
		return;
	if (kit->on_back)
		kit->on_back(req, end);
	else
		http_reply_error(req, E_UPSTREAM, "end %d", (int)end);
}

static void kit_proxy(struct http_req *req)
{
	struct http_proxy_opts opts = kit->opts;

	if (!opts.target.n)
		opts.target = req->target;
	opts.on_end = kit_on_end;
	http_proxy(req, &kit->up, &opts);
}

/* on_request: everything to the upstream. */
static inline void serve_proxy(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	kit_proxy(req);
}

static void echo_body(struct http_req *req, const char *body, size_t len)
{
	kit->body_n = MIN(len, sizeof kit->body);
	memcpy(kit->body, body, kit->body_n);
	http_reply(req, 200, "text/plain", body, len);
}

/* on_request: the body back, whole. */
static inline void serve_echo(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	http_req_body(req, 1 << 20, echo_body);
}

/* on_request: "hello". */
static inline void serve_hello(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	http_reply(req, 200, "text/plain", "hello", 5);
}

/* on_request: nothing; the test goes on with kit->req. */
static inline void serve_hold(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
}

static void kit_open(http_on_request *on_request)
{
	struct http_server_opts opts = {.on_request = on_request,
					.on_log = kit_on_log};
	struct err err = {0};
	int fd;

	opts.limits = &kit->limits;
	fd = tcp_listener(&kit->port);
	assert_int_equal(
		http_server_open(&kit->server, &kit->lane, fd, &opts, &err), 0);
}

static int kit_up(void **state)
{
	(void)state;
	kit = calloc(1, sizeof *kit);
	uv_loop_init(&kit->loop);
	lane_init(&kit->lane, &kit->loop);
	kit->limits = http_limits_default;
	return 0;
}

/* A Unix socket upstream whose server is the test. */
static inline void kit_upstream(void)
{
	struct err err = {0};

	snprintf(kit->up_path, sizeof kit->up_path, "/tmp/soma-test-%d.sock",
		 (int)getpid());
	kit->up_fd = unix_listener(kit->up_path);
	assert_int_equal(
		http_upstream_init(&kit->up, &kit->lane, kit->up_path, 0, &err),
		0);
	kit->has_up = true;
}

static void on_server_closed(struct http_server *s)
{
	(void)s;
	kit->server_closed = true;
}

static void on_up_closed(struct http_upstream *up)
{
	(void)up;
	kit->up_closed = true;
}

static int kit_down(void **state)
{
	(void)state;
	if (kit->server.lane) {
		if (!kit->server.draining)
			http_server_drain(&kit->server, on_server_closed);
		http_server_cut(&kit->server);
		UNTIL(kit->server_closed);
	}
	if (kit->has_up) {
		http_upstream_close(&kit->up, on_up_closed);
		UNTIL(kit->up_closed);
		close(kit->up_fd);
		unlink(kit->up_path);
	}
	assert_int_equal(kit->lane.n_conns, 0);
	assert_int_equal(kit->lane.n_links, 0);
	assert_int_equal(kit->over, kit->handed);
	assert_int_equal(kit->logged, kit->handed);
	lane_fini(&kit->lane);
	uv_run(&kit->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&kit->loop), 0);
	free(kit);
	kit = NULL;
	return 0;
}

/* Plain sockets */

static int dial(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)kit->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (void *)&in, sizeof in), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* The proxy's next connection to the upstream. */
static inline int up_accept(void)
{
	int fd = -1;

	UNTIL((fd = accept4(kit->up_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	return fd;
}

static void say_n(int fd, const char *p, size_t n)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (n > 0) {
		ssize_t rc = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (rc < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		if (rc > 0) {
			p += rc;
			n -= (size_t)rc;
		}
		turn();
		if (now_ms() > end)
			fail_msg("nobody takes what is sent");
	}
}

static inline void say(int fd, const char *text)
{
	say_n(fd, text, strlen(text));
}

/* What a peer has said so far. */
struct ear {
	char text[256 * 1024];
	size_t n;
	bool eof;
};

static void listen_once(int fd, struct ear *ear)
{
	ssize_t rc;

	turn();
	if (ear->eof || ear->n + 1 == sizeof ear->text)
		return;
	rc = recv(fd, ear->text + ear->n, sizeof ear->text - 1 - ear->n,
		  MSG_DONTWAIT);
	if (rc > 0)
		ear->n += (size_t)rc;
	else if (rc == 0 || (errno != EAGAIN && errno != EINTR))
		ear->eof = true;
	ear->text[ear->n] = 0;
}

/* Until `text` was heard; returns where it begins. */
static inline char *hear(int fd, struct ear *ear, const char *text)
{
	uint64_t end = now_ms() + WAIT_MS;

	for (;;) {
		char *at;

		listen_once(fd, ear);
		at = memmem(ear->text, ear->n, text, strlen(text));
		if (at)
			return at;
		if (ear->eof || now_ms() > end)
			fail_msg("heard no '%s' in '%s'", text, ear->text);
		usleep(50);
	}
}

static inline void hear_eof(int fd, struct ear *ear)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (!ear->eof) {
		listen_once(fd, ear);
		if (now_ms() > end)
			fail_msg("no end after '%s'", ear->text);
		usleep(50);
	}
}

static inline struct ear *new_ear(void)
{
	return calloc(1, sizeof(struct ear));
}

static inline void forget(struct ear *ear)
{
	ear->n = 0;
	ear->text[0] = 0;
}

static inline unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		n++;
	return n;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_up, kit_down)

#endif
