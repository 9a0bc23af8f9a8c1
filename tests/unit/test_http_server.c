/* Requests and replies. */
#include "test_http_kit.h"

#include "http/internal.h"
#include "http/limits.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"

static void test_keep_alive(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_hello);
	fd = dial();
	for (int i = 0; i < 50; i++) {
		forget(ear);
		say(fd, GET("/"));
		hear(fd, ear, "\r\n\r\nhello");
		assert_non_null(strstr(ear->text, "HTTP/1.1 200 OK\r\n"));
		assert_non_null(strstr(ear->text, "\r\nDate: "));
		assert_non_null(strstr(ear->text, "\r\nX-Request-Id: "));
		assert_null(strstr(ear->text, "Connection:"));
		assert_int_equal(kit->over, i + 1);
	}
	assert_int_equal(kit->lane.n_accepted, 1);
	assert_int_equal(kit->gone, 0);
	/* Idle again: the request went back to the lane. */
	assert_int_equal(kit->lane.n_free_reqs, 1);
	close(fd);
	free(ear);
}

static void test_http_1_0(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_hello);
	fd = dial();
	say(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	hear(fd, ear, "\r\n\r\nhello");
	assert_non_null(strstr(ear->text, "\r\nConnection: keep-alive\r\n"));
	forget(ear);
	say(fd, "GET / HTTP/1.0\r\n\r\n");
	hear_eof(fd, ear);
	assert_non_null(strstr(ear->text, "\r\nConnection: close\r\n"));
	close(fd);
	free(ear);
}

static struct http_req *held[8];
static unsigned n_held;

static void hold_some(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	held[n_held++] = req;
}

/* Answers in order: the next is handed out when the one before is over. */
static void test_pipelining(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	n_held = 0;
	kit_open(hold_some);
	fd = dial();
	say(fd, GET("/1") GET("/2") GET("/3"));
	for (unsigned i = 1; i <= 3; i++) {
		UNTIL(n_held == i);
		turn_for(5);
		assert_int_equal(n_held, i);
		http_replyf(held[i - 1], 200, "text/plain", "answer %u;", i);
		if (i == 1)
			assert_int_equal(kit->over, 0); /* never inside */
	}
	hear(fd, ear, "answer 3;");
	assert_true(strstr(ear->text, "answer 1;") <
		    strstr(ear->text, "answer 2;"));
	assert_string_equal(kit->targets, "/1 /2 /3 ");
	close(fd);
	free(ear);
}

/* Thousands of them, more than one read: memory stays bounded. */
static void test_pipelined_flood(void **state)
{
	enum { MANY = 5000 };
	struct ear *ear = new_ear();
	unsigned answers = 0;
	int fd;

	(void)state;
	kit_open(serve_hello);
	fd = dial();
	for (int i = 0; i < MANY; i++) {
		say(fd, GET("/"));
		if (i % 100 == 99) {
			hear(fd, ear, "hello");
			answers += count(ear->text, "\r\n\r\nhello");
			forget(ear);
		}
	}
	while (answers < MANY) {
		hear(fd, ear, "hello");
		answers += count(ear->text, "\r\n\r\nhello");
		if (answers < MANY) {
			/* keep what may be half an answer */
			char *end = ear->text + ear->n;
			char *last = end;

			while (last > ear->text && memcmp(last, "hello", 5))
				last--;
			memmove(ear->text, last + 5, (size_t)(end - last - 5));
			ear->n = (size_t)(end - last - 5);
			ear->text[ear->n] = 0;
		}
	}
	assert_int_equal(kit->handed, MANY);
	close(fd);
	free(ear);
}

static void test_continue(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_echo);
	fd = dial();
	say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
		"Expect: 100-Continue\r\n\r\n");
	hear(fd, ear, "HTTP/1.1 100 Continue\r\n\r\n");
	forget(ear);
	say(fd, "abc");
	hear(fd, ear, "\r\n\r\nabc");
	/* The body is there already: nobody waits for the word. */
	forget(ear);
	say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
		"Expect: 100-continue\r\n\r\nabc");
	hear(fd, ear, "\r\n\r\nabc");
	close(fd);
	free(ear);
}

/* Answered without asking for the body: the client may or may not send it, so
 * the connection ends. */
static void test_continue_refused(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_hello);
	fd = dial();
	say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
		"Expect: 100-continue\r\n\r\n");
	hear_eof(fd, ear);
	assert_non_null(strstr(ear->text, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(ear->text, "\r\nConnection: close\r\n"));
	close(fd);
	free(ear);
}

static void test_head(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_hello);
	fd = dial();
	say(fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" GET("/2"));
	hear(fd, ear, "hello");
	assert_int_equal(count(ear->text, "Content-Length: 5\r\n"), 2);
	assert_int_equal(count(ear->text, "hello"), 1);
	close(fd);
	free(ear);
}

/* A body nobody reads is dropped when small, else the connection ends. */
static void test_unread_body(void **state)
{
	struct ear *ear = new_ear();
	char *big = calloc(1, 300000);
	int fd;

	(void)state;
	kit_open(serve_hello);
	fd = dial();
	say(fd, "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
	hear(fd, ear, "hello");
	forget(ear);
	say(fd, "def" GET("/2"));
	hear(fd, ear, "hello");
	forget(ear);
	say(fd, "POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: "
		"300000\r\n\r\n");
	memset(big, 'x', 300000);
	say_n(fd, big, 300000);
	hear_eof(fd, ear);
	assert_non_null(strstr(ear->text, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(ear->text, "hello"));
	assert_string_equal(kit->targets, "/1 /2 /3 ");
	close(fd);
	free(big);
	free(ear);
}

static unsigned chunks, chunk_ends;

static void on_chunk(struct http_req *req, const char *data, size_t len)
{
	(void)data, (void)len;
	chunks++;
	http_req_pause(req);
}

static void on_chunks_end(struct http_req *req)
{
	chunk_ends++;
	http_replyf(req, 200, "text/plain", "%llu bytes",
		    (unsigned long long)req->bytes_in);
}

static void serve_stream(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	http_req_stream(req, on_chunk, on_chunks_end);
}

/* One piece at a time, even the end waits for a resume. */
static void test_stream_pauses(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	chunks = chunk_ends = 0;
	kit_open(serve_stream);
	fd = dial();
	say(fd,
	    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
	    "chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n2\r\ngh\r\n0\r\n\r\n" GET(
		    "/2"));
	for (unsigned i = 1; i <= 3; i++) {
		UNTIL(chunks == i);
		turn_for(5);
		assert_int_equal(chunks, i);
		assert_int_equal(chunk_ends, 0);
		http_req_resume(kit->req);
	}
	hear(fd, ear, "8 bytes");
	hear(fd, ear, "0 bytes");
	/* A length that ends with the read. */
	forget(ear);
	chunks = 0;
	say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
	UNTIL(chunks == 1);
	turn_for(5);
	http_req_resume(kit->req);
	hear(fd, ear, "3 bytes");
	close(fd);
	free(ear);
}

static unsigned drains;

static void on_drain(struct http_req *req)
{
	(void)req;
	drains++;
}

/* A slow reader: the handler is told to stop, then to go on. */
static void test_streamed_reply(void **state)
{
	static char block[32 * 1024];
	struct ear *ear = new_ear();
	size_t sent = 0, got = 0;
	int fd;

	(void)state;
	drains = 0;
	memset(block, 'x', sizeof block);
	kit_open(serve_hold);
	fd = dial();
	say(fd, GET("/"));
	UNTIL(kit->req);
	http_reply_header(kit->req, "X-Own", "1");
	http_reply_start(kit->req, 200, "text/plain", on_drain);
	hear(fd, ear, "\r\n\r\n");
	assert_non_null(strstr(ear->text, "Transfer-Encoding: chunked\r\n"));
	assert_non_null(strstr(ear->text, "X-Own: 1\r\n"));
	while (http_reply_chunk(kit->req, block, sizeof block))
		sent += sizeof block;
	sent += sizeof block;
	assert_true(request__of(kit->req)->conn->out.pending <=
		    LANE_READ_SIZE + sizeof block + 64);
	turn_for(20);
	assert_int_equal(drains, 0);
	while (drains == 0) {
		forget(ear);
		listen_once(fd, ear);
		got += ear->n;
	}
	http_reply_end(kit->req);
	do {
		forget(ear);
		listen_once(fd, ear);
		got += ear->n;
	} while (!kit->over);
	while (ear->n) {
		forget(ear);
		listen_once(fd, ear);
		got += ear->n;
	}
	assert_true(got >= sent);
	assert_int_equal(kit->gone, 0);
	close(fd);
	free(ear);
}

/* The client can tell that an answer is not whole. */
static void test_abort(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_hold);
	fd = dial();
	say(fd, GET("/"));
	UNTIL(kit->req);
	http_reply_start(kit->req, 200, "text/plain", NULL);
	http_reply_chunk(kit->req, "abc", 3);
	http_reply_abort(kit->req);
	hear_eof(fd, ear);
	assert_null(strstr(ear->text, "\r\n0\r\n\r\n"));
	assert_int_equal(kit->gone, 1);
	close(fd);
	free(ear);
}

/* Ids, targets, parameters */

static char seen_id[200], seen_host[64];

static void note_id(struct http_req *req, void *data)
{
	struct str host = http_req_header(req, "HOST");

	(void)data;
	kit_note(req);
	snprintf(seen_id, sizeof seen_id, "%.*s", (int)req->id.n, req->id.p);
	snprintf(seen_host, sizeof seen_host, "%.*s", (int)host.n, host.p);
	http_reply(req, 204, NULL, NULL, 0);
}

static void test_request_id(void **state)
{
	static const struct {
		const char *id;
		bool sane;
	} ids[] = {
		{"a", true},
		{"AZaz09._:+/=@-", true},
		{"", false},
		{"a b", false},
		{"a\"b", false},
		{"<script>", false},
		{"a,b", false},
		{"\xc3\xa9", false},
		{"0123456789012345678901234567890123456789012345678901234567890"
		 "1234567890123456789012345678901234567890123456789012345678901"
		 "234567",
		 true}, /* 128 */
		{"0123456789012345678901234567890123456789012345678901234567890"
		 "1234567890123456789012345678901234567890123456789012345678901"
		 "2345678",
		 false}, /* 129 */
	};
	char text[512], last[200] = "";
	int fd;

	(void)state;
	kit_open(note_id);
	fd = dial();
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct ear *ear = new_ear();

		snprintf(text, sizeof text,
			 "GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: "
			 "%s\r\n\r\n",
			 ids[i].id);
		say(fd, text);
		hear(fd, ear, "\r\n\r\n");
		if (ids[i].sane) {
			assert_string_equal(seen_id, ids[i].id);
		} else {
			assert_int_equal(strlen(seen_id), 24);
			assert_string_not_equal(seen_id, last);
			snprintf(last, sizeof last, "%s", seen_id);
		}
		snprintf(text, sizeof text, "\r\nX-Request-Id: %s\r\n",
			 seen_id);
		assert_non_null(strstr(ear->text, text));
		free(ear);
	}
	close(fd);
}

static void test_targets(void **state)
{
	static const struct {
		const char *method, *given, *target, *host;
	} targets[] = {
		{"GET", "/a?b", "/a?b ", "x"},
		{"GET", "http://h:80/a?b", "/a?b ", "h:80"},
		{"GET", "HTTPS://h", "/ ", "h"},
		{"GET", "http://h?b", "/?b ", "h"},
		{"GET", "http://[::1]:8/a", "/a ", "[::1]:8"},
		{"OPTIONS", "*", "* ", "x"},
		{"OPTIONS", "http://h", "* ", "h"},
		{"GET", "//a", "//a ", "x"},
		{"GET", "/%00|{}", "/%00|{} ", "x"},
	};
	char text[256];
	int fd;

	(void)state;
	kit_open(note_id);
	fd = dial();
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		struct ear *ear = new_ear();

		kit->targets[0] = 0;
		snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n",
			 targets[i].method, targets[i].given);
		say(fd, text);
		hear(fd, ear, "HTTP/1.1 204 No Content\r\n");
		assert_null(strstr(ear->text, "Content-Length"));
		assert_string_equal(kit->targets, targets[i].target);
		assert_string_equal(seen_host, targets[i].host);
		free(ear);
	}
	close(fd);
}

static void note_params(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	assert_string_equal(http_req_param(req, "a"), "1 2");
	assert_string_equal(http_req_param(req, "b c"), "\xc3\xa9&=");
	assert_string_equal(http_req_param(req, "d"), "");
	assert_string_equal(http_req_param(req, "e"), "");
	assert_string_equal(http_req_param(req, "bad"), "%zz%");
	assert_null(http_req_param(req, "nul"));
	assert_null(http_req_param(req, "z"));
	assert_null(http_req_param(req, ""));
	assert_true(req->loopback);
	assert_int_equal(memcmp(req->peer.p, "127.0.0.1:", 10), 0);
	http_reply(req, 200, NULL, NULL, 0);
}

static void test_params(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(note_params);
	fd = dial();
	say(fd, GET("/?a=1+2&a=3&b%20c=%C3%a9%26%3d&d=&e&bad=%zz%&nul=a%00b"));
	hear(fd, ear, "200 OK");
	close(fd);
	free(ear);
}

static void reply_error(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	if (req->path.n == 1)
		http_reply_error(req, E_NOTFOUND, "no \"%s\"", "api\n");
	else
		http_reply_error_full(req, E_UPSTREAM, 500, "iris", "signal 9",
				      "died");
}

static void test_error_json(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(reply_error);
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: q\r\n\r\n");
	hear(fd, ear,
	     "\r\n\r\n{\"error\":{\"code\":\"not_found\",\"message\":"
	     "\"no \\\"api\\n\\\"\",\"request_id\":\"q\"}}");
	assert_non_null(strstr(ear->text, "404 Not Found"));
	assert_non_null(
		strstr(ear->text, "Content-Type: application/json\r\n"));
	forget(ear);
	say(fd, "GET /2 HTTP/1.1\r\nHost: x\r\nX-Request-Id: q\r\n\r\n");
	hear(fd, ear,
	     "{\"error\":{\"code\":\"replica_failed\",\"message\":\"died\","
	     "\"request_id\":\"q\",\"api\":\"iris\",\"cause\":\"signal 9\"}}");
	assert_non_null(strstr(ear->text, "HTTP/1.1 500 "));
	close(fd);
	free(ear);
}

/* Limits */

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_keep_alive),	  TEST(test_http_1_0),
		TEST(test_pipelining),	  TEST(test_pipelined_flood),
		TEST(test_continue),	  TEST(test_continue_refused),
		TEST(test_head),	  TEST(test_unread_body),
		TEST(test_stream_pauses), TEST(test_streamed_reply),
		TEST(test_abort),	  TEST(test_request_id),
		TEST(test_targets),	  TEST(test_params),
		TEST(test_error_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
