/* Requests passed on to an upstream that the test plays. */
#include "test_http_pair.h"

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_headers_up),	     TEST(test_pool),
		TEST(test_kinds_of_answers), TEST(test_streams_are_told),
		TEST(test_bodies_up),	     TEST(test_pipelined_through),
		TEST(test_big_upload),	     TEST(test_big_download),
		TEST(test_held_body),	     TEST(test_tunnel),
		TEST(test_tunnel_is_slow),   TEST(test_tunnel_breaks),
		TEST(test_upgrade_declined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
