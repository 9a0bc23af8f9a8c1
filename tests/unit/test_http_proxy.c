/* Requests passed on to an upstream that the test plays. */
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

static void test_headers_up(void **state)
{
	static const struct http_header add[] = {
		{{"X-Soma-Api", 10}, {"iris", 4}}};
	struct pair p;

	(void)state;
	pair_open(&p);
	kit->opts.target = STR("/predict?x=1");
	kit->opts.add = add;
	kit->opts.n_add = 1;
	ask(&p,
	    "POST /iris HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n"
	    "Connection: keep-alive, X-Secret, Host\r\nKeep-Alive: 5\r\n"
	    "X-Secret: 1\r\nProxy-Authorization: b\r\nProxy-Connection: c\r\n"
	    "TE: trailers\r\nTrailer: T\r\nUpgrade: h2c\r\n"
	    "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX-Forwarded-Proto: https\r\n"
	    "X-Forwarded-For: 9.9.9.9\r\n"
	    "x-soma-api: forged\r\nX-High: \xe9\r\n"
	    "X-Request-Id: q1\r\nContent-Length: 3\r\n"
	    "Expect: 100-continue\r\n\r\nabc",
	    "\r\n\r\nabc");
	assert_string_equal(
		p.up_ear->text,
		"POST /predict?x=1 HTTP/1.1\r\nHost: example.com\r\n"
		"Accept: */*\r\nX-High: \xe9\r\nX-Soma-Api: iris\r\n"
		"X-Forwarded-For: 1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1\r\n"
		"X-Forwarded-Proto: https\r\nX-Request-Id: q1\r\n"
		"Content-Length: 3\r\n\r\nabc");
	answer(&p,
	       "HTTP/1.1 201 Made\r\nContent-Type: a/b\r\nConnection: X-Hop\r\n"
	       "X-Hop: 1\r\nKeep-Alive: 3\r\nProxy-Authenticate: x\r\n"
	       "X-Request-Id: other\r\nDate: now\r\nSet-Cookie: a\r\n"
	       "Set-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
	       "\r\n\r\nok");
	assert_string_equal(p.ear->text,
			    "HTTP/1.1 201 Made\r\nContent-Type: a/b\r\n"
			    "Date: now\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
			    "Content-Length: 2\r\nX-Request-Id: q1\r\n\r\nok");
	assert_int_equal(last_end(), PROXY_DONE);
	pair_close(&p);
}

static void test_pool(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	for (int i = 0; i < 20; i++) {
		ask(&p, GET("/"), "\r\n\r\n");
		answer(&p, OK("2") "ok", "\r\n\r\nok");
		assert_int_equal(kit->up.n_idle, 1);
		assert_int_equal(kit->up.n_busy, 0);
	}
	/* No second connection was made. */
	assert_true(accept(kit->up_fd, NULL, NULL) < 0);
	/* Its end is noticed while idle. */
	close(p.up);
	UNTIL(kit->up.n_idle == 0);
	p.up = -1;
	ask(&p, GET("/"), "\r\n\r\n");
	/* An answer that closes is not pooled. */
	answer(&p,
	       "HTTP/1.1 200 OK\r\nConnection: close\r\n"
	       "Content-Length: 2\r\n\r\nok",
	       "\r\n\r\nok");
	assert_int_equal(kit->up.n_idle, 0);
	/* Nor is one that said too much. */
	close(p.up);
	p.up = -1;
	ask(&p, GET("/"), "\r\n\r\n");
	answer(&p, OK("2") "ok!", "\r\n\r\nok");
	turn_for(10);
	assert_int_equal(kit->up.n_idle, 0);
	assert_null(strstr(p.ear->text, "ok!"));
	/* Too old */
	close(p.up);
	p.up = -1;
	kit->up.idle_ms = 150;
	ask(&p, GET("/"), "\r\n\r\n");
	answer(&p, OK("2") "ok", "\r\n\r\nok");
	assert_int_equal(kit->up.n_idle, 1);
	UNTIL(kit->up.n_idle == 0);
	pair_close(&p);
}

static void test_kinds_of_answers(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	/* HEAD: a length, and no body */
	ask(&p, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD / HTTP/1.1\r\n");
	answer(&p, OK("77"), "\r\n\r\n");
	assert_non_null(strstr(p.ear->text, "Content-Length: 77\r\n"));
	assert_int_equal(kit->up.n_idle, 1);
	/* 204, 304 */
	ask(&p, GET("/"), "\r\n\r\n");
	answer(&p, "HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 204 No\r\n");
	ask(&p, GET("/"), "\r\n\r\n");
	answer(&p, "HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
	       "HTTP/1.1 304 Same\r\n");
	/* An empty reason, interim answers */
	ask(&p, GET("/"), "\r\n\r\n");
	answer(&p,
	       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: "
	       "a\r\n\r\nHTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
	       "HTTP/1.1 200 \r\n");
	assert_int_equal(count(p.ear->text, "HTTP/1.1"), 1);
	/* Chunks */
	ask(&p, GET("/"), "\r\n\r\n");
	answer(&p,
	       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	       "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
	       "\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
	assert_int_equal(kit->up.n_idle, 1);
	/* Until the end of the connection: chunked for us */
	ask(&p, GET("/"), "\r\n\r\n");
	answer(&p, "HTTP/1.0 200 OK\r\n\r\nabc", "\r\n\r\n3\r\nabc\r\n");
	shutdown(p.up, SHUT_WR);
	hear(p.fd, p.ear, "\r\n0\r\n\r\n");
	close(p.up);
	p.up = -1;
	/* To a 1.0 client chunks become a body that ends with the connection */
	ask(&p, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	    "Host: localhost\r\n");
	answer(&p,
	       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	       "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
	       "\r\n\r\nabc");
	hear_eof(p.fd, p.ear);
	assert_non_null(strstr(p.ear->text, "Connection: close\r\n"));
	assert_null(strstr(p.ear->text, "Transfer-Encoding"));
	pair_close(&p);
}

static void note_stream(struct http_req *req, unsigned status, bool stream,
			void *data)
{
	(void)req, (void)status;
	*(bool *)data = stream;
}

/* Whether an answer's length is known is told with its head. */
static void test_streams_are_told(void **state)
{
	static const struct {
		const char *ask, *answer;
		bool stream;
	} cases[] = {
		{GET("/"), OK("2") "ok", false},
		{GET("/"), OK("0"), false},
		{GET("/"), "HTTP/1.1 204 No\r\n\r\n", false},
		{"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
		 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		 false},
		{GET("/"),
		 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "0\r\n\r\n",
		 true},
		{GET("/"), "HTTP/1.0 200 OK\r\n\r\n", true},
	};
	struct pair p;
	bool told;

	(void)state;
	pair_open(&p);
	kit->opts.on_head = note_stream;
	kit->opts.data = &told;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		told = !cases[i].stream;
		ask(&p, cases[i].ask, "\r\n\r\n");
		answer(&p, cases[i].answer, "\r\n\r\n");
		assert_int_equal(told, cases[i].stream);
	}
	kit->opts.on_head = NULL;
	kit->opts.data = NULL;
	pair_close(&p);
}

static void test_bodies_up(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	/* One piece with its head */
	ask(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
	    "Content-Length: 3\r\n\r\nabc");
	answer(&p, OK("0"), "\r\n\r\n");
	/* In pieces */
	ask(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc",
	    "Content-Length: 6\r\n\r\nabc");
	ask(&p, "def", "def");
	answer(&p, OK("0"), "\r\n\r\n");
	/* Chunks are written anew, trailers and extensions dropped. */
	ask(&p,
	    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
	    "chunked\r\n\r\n1;a=b\r\na\r\n2\r\nbc\r\n",
	    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
	ask(&p, "0\r\nT: a\r\n\r\n", "0\r\n\r\n");
	assert_string_equal(p.up_ear->text, "0\r\n\r\n");
	answer(&p, OK("0"), "\r\n\r\n");
	/* 100 is ours to say, Expect goes no further. */
	say(p.fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
		  "Expect: 100-continue\r\n\r\n");
	forget(p.ear);
	hear(p.fd, p.ear, "HTTP/1.1 100 Continue\r\n\r\n");
	ask(&p, "abc", "\r\n\r\nabc");
	assert_null(strstr(p.up_ear->text, "Expect"));
	answer(&p, OK("0"), "\r\n\r\n");
	assert_int_equal(kit->over, 4);
	assert_int_equal(kit->up.n_idle, 1);
	pair_close(&p);
}

static void test_pipelined_through(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	ask(&p,
	    "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" GET(
		    "/2") GET("/3"),
	    "\r\n\r\nabc");
	turn_for(5);
	assert_null(strstr(p.up_ear->text, "/2"));
	say(p.up, OK("2") "r1");
	forget(p.up_ear);
	hear(p.up, p.up_ear, "GET /2 ");
	say(p.up, OK("2") "r2");
	hear(p.up, p.up_ear, "GET /3 ");
	say(p.up, OK("2") "r3");
	hear(p.fd, p.ear, "r3");
	assert_true(strstr(p.ear->text, "r1") < strstr(p.ear->text, "r2"));
	pair_close(&p);
}

/* Big bodies and slow readers */

static size_t queued_everywhere(void)
{
	struct list *it, *tmp;
	size_t n = 0;

	LIST_EACH (&kit->server.conns, it, tmp) {
		struct conn *c = LIST_ENTRY(it, struct conn, link);

		n += c->out.pending + c->hold.len;
		if (c->req)
			n += c->req->proxy.kept_cap;
	}
	LIST_EACH (&kit->up.busy, it, tmp)
		n += LIST_ENTRY(it, struct link, node)->out.pending;
	return n;
}

enum { BIG = 48 * 1024 * 1024, PIECE = 48 * 1024 };

/* The byte at a place of the stream: any shift or loss shows. */
static char byte_at(size_t i)
{
	return (char)(i % 251 + i / 65536);
}

/* From `from` to `to`, the reader stalling first: what lies between is bounded
 * and nothing is lost. */
static void stream_big(int from, int to, size_t skip, struct ear *ear)
{
	static char piece[PIECE];
	size_t sent = 0, got = 0, most = 0;
	uint64_t stall = now_ms() + 300, end = now_ms() + 60000;

	assert_true(ear->n >= skip);
	for (size_t i = skip; i < ear->n; i++)
		assert_true(ear->text[i] == byte_at(got++));
	while (got < BIG) {
		size_t n = MIN(sizeof piece, BIG - sent), queued;
		ssize_t rc;

		for (size_t i = 0; i < n; i++)
			piece[i] = byte_at(sent + i);
		rc = n ? send(from, piece, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
		if (rc > 0)
			sent += (size_t)rc;
		turn();
		queued = queued_everywhere();
		most = MAX(most, queued);
		if (now_ms() < stall && sent < BIG)
			continue;
		rc = recv(to, piece, sizeof piece, MSG_DONTWAIT);
		for (ssize_t i = 0; i < rc; i++)
			if (piece[i] != byte_at(got + (size_t)i))
				fail_msg("byte %zu is wrong", got + (size_t)i);
		if (rc > 0)
			got += (size_t)rc;
		if (now_ms() > end)
			fail_msg("stuck at %zu", got);
	}
	print_message("  at most %zu KiB held\n", most / 1024);
	assert_true(most <= 4 * (size_t)LANE_READ_SIZE);
}

static void test_big_upload(void **state)
{
	struct pair p;
	char head[128];

	(void)state;
	pair_open(&p);
	snprintf(head, sizeof head,
		 "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
		 BIG);
	ask(&p, head, "\r\n\r\n");
	stream_big(p.fd, p.up, p.up_ear->n, p.up_ear);
	answer(&p, OK("2") "ok", "\r\n\r\nok");
	assert_int_equal(kit->up.n_idle, 1);
	pair_close(&p);
}

static void test_big_download(void **state)
{
	struct pair p;
	char head[128];

	(void)state;
	pair_open(&p);
	ask(&p, GET("/"), "\r\n\r\n");
	snprintf(head, sizeof head,
		 "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
	answer(&p, head, "\r\n\r\n");
	stream_big(p.up, p.fd, p.ear->n, p.ear);
	UNTIL(kit->over == 1);
	assert_int_equal(last_end(), PROXY_DONE);
	assert_int_equal(kit->up.n_idle, 1);
	pair_close(&p);
}

/* Tunnels */

#define UPGRADE                                                                \
	"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n"   \
	"Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
#define SWITCH                                                                 \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"           \
	"Connection: upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n"

static void open_tunnel(struct pair *p)
{
	pair_open(p);
	ask(p, UPGRADE, "\r\n\r\n");
	assert_non_null(strstr(p->up_ear->text, "\r\nConnection: Upgrade\r\n"));
	assert_non_null(strstr(p->up_ear->text, "\r\nUpgrade: websocket\r\n"));
	answer(p, SWITCH "first", "\r\n\r\nfirst");
	assert_non_null(strstr(p->ear->text, "\r\nConnection: Upgrade\r\n"));
	assert_non_null(strstr(p->ear->text, "\r\nUpgrade: websocket\r\n"));
	assert_non_null(strstr(p->ear->text, "\r\nSec-WebSocket-Accept: a"));
}

static void test_tunnel(void **state)
{
	struct pair p;

	(void)state;
	open_tunnel(&p);
	ask(&p, "GET / HTTP/1.1\r\n\n\001", "GET / HTTP/1.1\r\n\n\001");
	answer(&p, "raw", "raw");
	/* Half-close, each way */
	shutdown(p.fd, SHUT_WR);
	hear_eof(p.up, p.up_ear);
	answer(&p, "still", "still");
	assert_int_equal(kit->over, 0);
	shutdown(p.up, SHUT_WR);
	hear_eof(p.fd, p.ear);
	UNTIL(kit->over == 1);
	assert_int_equal(last_end(), PROXY_DONE);
	assert_int_equal(kit->gone, 0);
	assert_int_equal(kit->up.n_idle, 0);
	pair_close(&p);
}

static void test_tunnel_is_slow(void **state)
{
	struct pair p;

	(void)state;
	open_tunnel(&p);
	forget(p.ear);
	stream_big(p.up, p.fd, 0, p.ear);
	forget(p.up_ear);
	stream_big(p.fd, p.up, 0, p.up_ear);
	close(p.up);
	p.up = -1;
	hear_eof(p.fd, p.ear);
	pair_close(&p);
	UNTIL(kit->over == 1);
}

static void test_tunnel_breaks(void **state)
{
	struct linger now = {1, 0};
	struct pair p;

	(void)state;
	open_tunnel(&p);
	setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(p.fd);
	p.fd = dial();
	hear_eof(p.up, p.up_ear);
	UNTIL(kit->over == 1);
	assert_int_equal(last_end(), PROXY_GONE);
	pair_close(&p);
}

static void test_upgrade_declined(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	ask(&p, UPGRADE, "\r\n\r\n");
	answer(&p, OK("2") "no", "\r\n\r\nno");
	ask(&p, GET("/2"), "GET /2 ");
	answer(&p, OK("2") "ok", "\r\n\r\nok");
	assert_int_equal(kit->over, 2);
	pair_close(&p);
}

/* Ends */

static void test_no_connect(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	close(kit->up_fd);
	say(p.fd, GET("/"));
	hear(p.fd, p.ear, "HTTP/1.1 502 ");
	assert_int_equal(last_end(), PROXY_NO_CONNECT);
	kit->up_fd = unix_listener(kit->up_path);
	pair_close(&p);
}

static struct http_upstream tcp_up;

static void tcp_closed(struct http_upstream *up)
{
	(void)up;
	kit->up_closed = true;
}

static void serve_tcp(struct http_req *req, void *data)
{
	struct http_proxy_opts opts = {.target = req->target,
				       .on_end = kit_on_end};

	(void)data;
	kit_note(req);
	http_proxy(req, &tcp_up, &opts);
}

static void test_tcp_upstream(void **state)
{
	struct ear *ear = new_ear(), *up_ear = new_ear();
	struct err err = {0};
	int port, listener = tcp_listener(&port), fd, up = -1;

	(void)state;
	kit_open(serve_tcp);
	http_upstream_init(&tcp_up, &kit->lane, NULL, port, &err);
	fd = dial();
	for (int i = 0; i < 2; i++) {
		say(fd, GET("/"));
		if (up < 0)
			UNTIL((up = accept(listener, NULL, NULL)) >= 0);
		hear(up, up_ear, "\r\n\r\n");
		say(up, OK("2") "ok");
		forget(ear);
		hear(fd, ear, "\r\n\r\nok");
	}
	close(up);
	close(listener);
	UNTIL(tcp_up.n_idle == 0);
	forget(ear);
	say(fd, GET("/"));
	hear(fd, ear, "HTTP/1.1 502 ");
	assert_int_equal(last_end(), PROXY_NO_CONNECT);
	http_upstream_close(&tcp_up, tcp_closed);
	assert_false(kit->up_closed);
	UNTIL(kit->up_closed);
	close(fd);
	free(ear);
	free(up_ear);
}

/* An upstream that dies, by stage of its answer. */
static void test_upstream_dies(void **state)
{
	static const struct {
		const char *said;
		enum http_proxy_end end;
	} stages[] = {
		{"", PROXY_DIED},
		{"HTTP/1.1 200 OK\r\nCont", PROXY_DIED},
		{"HTTP/1.1 100 Continue\r\n\r\n", PROXY_DIED},
		{OK("5"), PROXY_CUT},
		{OK("5") "he", PROXY_CUT},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		 PROXY_CUT},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
		 PROXY_CUT},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "5\r\nhello\r\n0\r\n",
		 PROXY_CUT},
		{OK("5") "hello", PROXY_DONE},
	};
	struct linger now = {1, 0};

	(void)state;
	kit_upstream();
	kit_open(serve_proxy);
	for (size_t i = 0; i < ARRAY_LEN(stages) * 2; i++) {
		const char *said = stages[i / 2].said;
		struct ear *ear = new_ear(), *up_ear = new_ear();
		int fd = dial(), up;

		say(fd, GET("/"));
		up = up_accept();
		hear(up, up_ear, "\r\n\r\n");
		say(up, said);
		turn_for(2);
		if (i % 2) /* by reset where the socket can */
			setsockopt(up, SOL_SOCKET, SO_LINGER, &now, sizeof now);
		close(up);
		UNTIL(kit->n_ends == i + 1);
		assert_int_equal(last_end(), stages[i / 2].end);
		if (last_end() == PROXY_CUT)
			hear_eof(fd, ear);
		else
			hear(fd, ear,
			     last_end() == PROXY_DONE ? "hello"
						      : "HTTP/1.1 502 ");
		close(fd);
		UNTIL(kit->over == i + 1);
		UNTIL(kit->up.n_idle == 0);
		free(ear);
		free(up_ear);
	}
}

/* A body without end is cut so that a 1.0 client can tell. */
static void test_cut_is_seen_by_1_0(void **state)
{
	struct pair p;
	char byte;
	ssize_t rc;

	(void)state;
	pair_open(&p);
	ask(&p, "GET / HTTP/1.0\r\n\r\n", "\r\n\r\n");
	answer(&p,
	       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
	       "\r\n\r\nhe");
	close(p.up);
	p.up = -1;
	UNTIL(kit->over == 1);
	turn_for(5);
	rc = recv(p.fd, &byte, 1, MSG_DONTWAIT);
	assert_true(rc < 0 && errno == ECONNRESET);
	pair_close(&p);
}

static unsigned repeats;

static void repeat(struct http_req *req, enum http_proxy_end end)
{
	assert_int_equal(end, PROXY_DIED);
	if (http_proxy_repeatable(req)) {
		repeats++;
		kit_proxy(req);
	} else {
		http_reply_error(req, E_UPSTREAM, "not again");
	}
}

/* What was kept goes out again, then the rest of the body. */
static void test_repeat(void **state)
{
	static const char *const heads[] = {
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
		"chunked\r\n\r\n3\r\nabc\r\n"};
	static const char *const heard[] = {"\r\n\r\nabc",
					    "\r\n\r\n3\r\nabc\r\n"};
	static const char *const rest[] = {"def", "3\r\ndef\r\n0\r\n\r\n"};
	static const char *const whole[] = {"\r\n\r\nabcdef",
					    "\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n"};

	(void)state;
	repeats = 0;
	kit_upstream();
	kit_open(serve_proxy);
	kit->on_back = repeat;
	for (int i = 0; i < 2; i++) {
		struct pair p = {dial(), -1, new_ear(), new_ear()};

		ask(&p, heads[i], heard[i]);
		close(p.up);
		p.up = -1;
		UNTIL(repeats == (unsigned)i * 2 + 1);
		ask(&p, "", heard[i]); /* again, as far as it had come */
		ask(&p, rest[i], rest[i]);
		close(p.up);
		p.up = -1;
		UNTIL(repeats == (unsigned)i * 2 + 2);
		ask(&p, "", whole[i]);
		answer(&p, OK("2") "ok", "\r\n\r\nok");
		close(p.up);
		p.up = -1;
		UNTIL(kit->up.n_idle == 0);
		pair_close(&p);
	}
	assert_int_equal(kit->over, 2);
}

static void test_not_repeatable(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	kit->on_back = repeat;
	kit->opts.keep_body = 4;
	ask(&p,
	    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "5\r\nhello\r\n",
	    "5\r\nhello\r\n");
	close(p.up);
	p.up = -1;
	hear(p.fd, p.ear, "not again");
	UNTIL(kit->over == 1);
	pair_close(&p);
}

/* Nothing of the request was taken by a pooled connection that is dead. */
static void test_dead_pool_is_replaced(void **state)
{
	const char *post = "POST / HTTP/1.1\r\nHost: x\r\n"
			   "Content-Length: 3\r\n\r\nabc";
	struct pair p;

	(void)state;
	pair_open(&p);
	ask(&p, GET("/"), "\r\n\r\n");
	answer(&p, OK("2") "ok", "ok");
	assert_int_equal(kit->up.n_idle, 1);
	/* Dead, but the loop has not turned yet. */
	close(p.up);
	p.up = -1;
	send(p.fd, post, strlen(post), 0);
	ask(&p, "", "\r\n\r\nabc");
	answer(&p, OK("2") "ok", "ok");
	assert_int_equal(last_end(), PROXY_DONE);
	assert_int_equal(kit->n_ends, 2);
	pair_close(&p);
}

static void test_client_leaves(void **state)
{
	static const struct {
		const char *asked, *heard, *answered;
	} stages[] = {
		{GET("/"), "\r\n\r\n", ""},
		{GET("/"), "\r\n\r\n", "HTTP/1.1 200"},
		{GET("/"), "\r\n\r\n", OK("9") "abc"},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
		 "abc", ""},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
		 "abc", OK("9") "abc"},
		{GET("/") GET("/"), "\r\n\r\n", ""},
	};

	(void)state;
	kit_upstream();
	kit_open(serve_proxy);
	for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
		struct pair p = {dial(), -1, new_ear(), new_ear()};

		ask(&p, stages[i].asked, stages[i].heard);
		say(p.up, stages[i].answered);
		turn_for(2);
		close(p.fd);
		hear_eof(p.up, p.up_ear);
		UNTIL(kit->over == i + 1);
		assert_int_equal(last_end(), PROXY_GONE);
		assert_int_equal(kit->gone, i + 1);
		p.fd = dial();
		pair_close(&p);
	}
}

static void test_client_breaks_its_body(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	ask(&p,
	    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "3\r\nabc\r\n",
	    "abc");
	say(p.fd, "zzz\r\n");
	hear_eof(p.up, p.up_ear);
	hear_eof(p.fd, p.ear);
	assert_int_equal(strncmp(p.ear->text, "HTTP/1.1 400 ", 13), 0);
	assert_int_equal(last_end(), PROXY_GONE);
	assert_int_equal(kit->gone, 1);
	pair_close(&p);
}

/* The answer comes before the body has: it is passed on, then the connection
 * ends, for nobody wants the rest. */
static void test_early_answer(void **state)
{
	static char more[256 * 1024];
	struct pair p;

	(void)state;
	pair_open(&p);
	ask(&p,
	    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nabc",
	    "abc");
	answer(&p, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno",
	       "\r\n\r\nno");
	assert_int_equal(last_end(), PROXY_DONE);
	say_n(p.fd, more, sizeof more);
	hear_eof(p.fd, p.ear);
	assert_int_equal(kit->up.n_idle, 0);
	/* With little left the connection lives on. */
	close(p.fd);
	close(p.up);
	p.up = -1;
	p.fd = dial();
	p.ear->eof = p.up_ear->eof = false;
	ask(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc",
	    "abc");
	answer(&p, OK("2") "ok", "\r\n\r\nok");
	close(p.up);
	p.up = -1;
	ask(&p, "def" GET("/2"), "GET /2 ");
	answer(&p, OK("2") "ok", "\r\n\r\nok");
	pair_close(&p);
}

/* The upstream closes its reading side, having said why. */
static void test_answer_to_a_refused_body(void **state)
{
	static char more[1024 * 1024];
	struct pair p;

	(void)state;
	pair_open(&p);
	ask(&p,
	    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nabc",
	    "abc");
	say(p.up, "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno");
	close(p.up);
	p.up = -1;
	say_n(p.fd, more, sizeof more);
	hear(p.fd, p.ear, "\r\n\r\nno");
	assert_int_equal(last_end(), PROXY_DONE);
	pair_close(&p);
}

static void cancel_on_head(struct http_req *req, unsigned status, bool stream,
			   void *data)
{
	(void)data, (void)stream;
	assert_int_equal(status, 200);
	http_proxy_cancel(req);
}

static void test_cancel(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	ask(&p, GET("/1"), "\r\n\r\n");
	http_proxy_cancel(kit->req);
	assert_int_equal(last_end(), PROXY_CANCELED);
	hear(p.fd, p.ear, "HTTP/1.1 502 ");
	hear_eof(p.up, p.up_ear);
	close(p.up);
	p.up = -1;
	p.up_ear->eof = false;
	/* in on_head */
	kit->opts.on_head = cancel_on_head;
	ask(&p, GET("/2"), "\r\n\r\n");
	answer(&p, OK("2") "ok", "HTTP/1.1 502 ");
	assert_int_equal(last_end(), PROXY_CANCELED);
	kit->opts.on_head = NULL;
	close(p.up);
	p.up = -1;
	/* after the answer began */
	ask(&p, GET("/3"), "\r\n\r\n");
	answer(&p, OK("5") "he", "he");
	http_proxy_cancel(kit->req);
	assert_int_equal(last_end(), PROXY_CUT);
	assert_int_equal(kit->over, 2); /* on_over is still to come */
	hear_eof(p.fd, p.ear);
	UNTIL(kit->over == 3);
	pair_close(&p);
}

static void test_upstream_close(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	ask(&p, GET("/1"), "\r\n\r\n");
	http_upstream_close(&kit->up, on_up_closed);
	assert_false(kit->up_closed);
	assert_int_equal(last_end(), PROXY_DIED);
	hear(p.fd, p.ear, "HTTP/1.1 502 ");
	UNTIL(kit->up_closed);
	assert_int_equal(kit->n_ends, 1);
	kit->has_up = false;
	close(kit->up_fd);
	unlink(kit->up_path);
	pair_close(&p);
}

/* A body that is there before anybody asks for it waits, bounded. */
static void test_held_body(void **state)
{
	static char block[512 * 1024];
	struct pair p;

	(void)state;
	kit_upstream();
	kit_open(serve_hold);
	p = (struct pair){dial(), -1, new_ear(), new_ear()};
	say(p.fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "
		  "524288\r\n\r\n");
	UNTIL(kit->req);
	memset(block, 'y', sizeof block);
	for (size_t sent = 0, stuck = 0; sent < sizeof block && stuck < 200;) {
		ssize_t rc = send(p.fd, block + sent, sizeof block - sent,
				  MSG_DONTWAIT);

		sent += rc > 0 ? (size_t)rc : 0;
		stuck += rc <= 0;
		turn();
		assert_true(queued_everywhere() <= LANE_READ_SIZE + READ_AHEAD);
	}
	kit_proxy(kit->req);
	p.up = up_accept();
	for (size_t got = 0; got < sizeof block;) {
		forget(p.up_ear);
		listen_once(p.up, p.up_ear);
		got += p.up_ear->n; /* the head makes up for nothing */
		if (kit->req && request__of(kit->req)->in.complete)
			break;
	}
	say(p.up, OK("2") "ok");
	do {
		forget(p.up_ear);
		listen_once(p.up, p.up_ear);
		listen_once(p.fd, p.ear);
	} while (!strstr(p.ear->text, "\r\n\r\nok"));
	pair_close(&p);
}

/* A full backlog is waited for. */
static void test_backlog(void **state)
{
	struct pair p;
	int fill[64], n = 0;

	(void)state;
	pair_open(&p);
	listen(kit->up_fd, 0);
	for (; n < 64; n++) {
		struct sockaddr_un un = {.sun_family = AF_UNIX};

		snprintf(un.sun_path, sizeof un.sun_path, "%s", kit->up_path);
		fill[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(fill[n], (void *)&un, sizeof un) < 0)
			break;
	}
	assert_true(n < 64);
	say(p.fd, GET("/"));
	turn_for(150);
	assert_int_equal(kit->n_ends, 0);
	for (int i = 0; i < n; i++)
		close(accept(kit->up_fd, NULL, NULL));
	p.up = up_accept();
	hear(p.up, p.up_ear, "\r\n\r\n");
	answer(&p, OK("2") "ok", "ok");
	for (int i = 0; i <= n; i++)
		close(fill[i]);
	pair_close(&p);
}

/* Probes */

static unsigned probes, probe_status;

static void on_probed(void *data, unsigned status)
{
	(void)data;
	probes++;
	probe_status = status;
}

static void test_probe(void **state)
{
	struct ear *ear = new_ear();
	int up;

	(void)state;
	probes = 0;
	kit_upstream();
	http_probe(&kit->up, "/healthz", 5000, on_probed, NULL);
	assert_int_equal(probes, 0);
	up = up_accept();
	hear(up, ear, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
	say(up, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
	UNTIL(probes == 1);
	assert_int_equal(probe_status, 503);
	close(up);
	/* silence */
	http_probe(&kit->up, "/", 150, on_probed, NULL);
	up = up_accept();
	UNTIL(probes == 2);
	assert_int_equal(probe_status, 0);
	close(up);
	/* nonsense */
	http_probe(&kit->up, "/", 5000, on_probed, NULL);
	up = up_accept();
	say(up, "hello\r\n\r\n");
	UNTIL(probes == 3);
	assert_int_equal(probe_status, 0);
	close(up);
	/* nobody */
	close(kit->up_fd);
	http_probe(&kit->up, "/", 5000, on_probed, NULL);
	assert_int_equal(probes, 3);
	UNTIL(probes == 4);
	assert_int_equal(probe_status, 0);
	kit->up_fd = unix_listener(kit->up_path);
	/* the upstream closes first */
	http_probe(&kit->up, "/", 5000, on_probed, NULL);
	http_upstream_close(&kit->up, on_up_closed);
	UNTIL(kit->up_closed);
	assert_int_equal(probes, 5);
	kit->has_up = false;
	close(kit->up_fd);
	unlink(kit->up_path);
	free(ear);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_headers_up),
		TEST(test_pool),
		TEST(test_kinds_of_answers),
		TEST(test_streams_are_told),
		TEST(test_bodies_up),
		TEST(test_pipelined_through),
		TEST(test_big_upload),
		TEST(test_big_download),
		TEST(test_tunnel),
		TEST(test_tunnel_is_slow),
		TEST(test_tunnel_breaks),
		TEST(test_upgrade_declined),
		TEST(test_no_connect),
		TEST(test_tcp_upstream),
		TEST(test_upstream_dies),
		TEST(test_cut_is_seen_by_1_0),
		TEST(test_repeat),
		TEST(test_not_repeatable),
		TEST(test_dead_pool_is_replaced),
		TEST(test_client_leaves),
		TEST(test_client_breaks_its_body),
		TEST(test_early_answer),
		TEST(test_answer_to_a_refused_body),
		TEST(test_cancel),
		TEST(test_upstream_close),
		TEST(test_held_body),
		TEST(test_backlog),
		TEST(test_probe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
