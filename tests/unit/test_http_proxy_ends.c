/* How requests that are passed on end: upstreams that die or refuse, clients
 * that leave, what may be sent again. */
#include "test_http_pair.h"

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

/* Questions */

static struct http_told told_last;
static char answer_digest[80], answer_body[80];

static void on_answered(void *data, const struct http_told *told)
{
	on_probed(data, told->status);
	told_last = *told;
	snprintf(answer_digest, sizeof answer_digest, "%s", told->digest);
	snprintf(answer_body, sizeof answer_body, "%.*s", (int)told->body.n,
		 told->body.p ? told->body.p : "");
}

static void ask_up(const char *body)
{
	const struct http_question q = {
		.method = "POST",
		.path = "/",
		.body = str_of(body),
		.keep = 2,
		.digest = true,
		.timeout_ms = 5000,
	};

	http_ask(&kit->up, &q, on_answered, NULL);
}

static void test_ask(void **state)
{
	/* Of "yes". */
	static const char yes[] =
		"8a798890fe93817163b10b5f7bd2ca4d25d84c52739a645a889c173eee7d9d"
		"3d";
	static const char *const heads[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ny",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
		"chunked\r\n\r\n1\r\ny\r\n"
		"2\r\n",
		"HTTP/1.1 200 OK\r\n\r\ny",
	};
	static const char *const rests[] = {"es", "es\r\n0\r\n\r\n", "es"};
	struct ear *ear;
	int up;

	(void)state;
	probes = 0;
	kit_upstream();
	for (unsigned i = 0; i < ARRAY_LEN(heads); i++) {
		ask_up("{\"x\":1}");
		up = up_accept();
		ear = new_ear();
		hear(up, ear, "Content-Length: 7\r\n");
		say(up, heads[i]);
		say(up, rests[i]);
		if (i == 2)
			close(up);
		UNTIL(probes == i + 1);
		assert_int_equal(probe_status, 200);
		assert_string_equal(answer_digest, yes);
		assert_string_equal(answer_body, "ye");
		assert_int_equal(told_last.size, 3);
		if (i != 2)
			close(up);
		free(ear);
	}
	/* It ends in the middle. */
	ask_up("{}");
	up = up_accept();
	ear = new_ear();
	hear(up, ear, "{}");
	say(up, heads[0]);
	close(up);
	UNTIL(probes == 4);
	assert_int_equal(probe_status, 0);
	assert_string_equal(answer_digest, "");
	assert_string_equal(told_last.why, "it closed the connection");
	free(ear);
}

/* Without a body, with headers; an answer that has none, and none at all. */
static void test_ask_in_other_words(void **state)
{
	struct http_question q = {.method = "GET",
				  .path = "/a?b",
				  .headers = "X-A: b\r\n",
				  .timeout_ms = 5000};
	struct ear *ear;
	int up;

	(void)state;
	probes = 0;
	kit_upstream();
	for (unsigned i = 0; i < 2; i++) {
		q.method = i ? "PUT" : "GET";
		http_ask(&kit->up, &q, on_answered, NULL);
		up = up_accept();
		ear = new_ear();
		hear(up, ear,
		     i ? "Content-Length: 0\r\n\r\n" : "X-A: b\r\n\r\n");
		assert_non_null(strstr(ear->text, " /a?b HTTP/1.1\r\n"));
		say(up, "HTTP/1.1 204 No Content\r\n\r\n");
		UNTIL(probes == i + 1);
		assert_int_equal(probe_status, 204);
		assert_int_equal(told_last.size, 0);
		close(up);
		free(ear);
	}
	q.timeout_ms = 150;
	http_ask(&kit->up, &q, on_answered, NULL);
	up = up_accept();
	ear = new_ear();
	hear(up, ear, "\r\n\r\n");
	UNTIL(probes == 3);
	assert_int_equal(probe_status, 0);
	assert_true(told_last.late);
	assert_true(told_last.took_ns >= UINT64_C(100000000));
	close(up);
	free(ear);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
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
		TEST(test_backlog),
		TEST(test_probe),
		TEST(test_ask),
		TEST(test_ask_in_other_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
