/* Connections of this program to its own server, and what is noted of requests
 * on their way. */
#include "test_http_kit.h"

static int adopt(int rc)
{
	int fds[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(http_server_adopt(&kit->server, fds[1]), rc);
	return fds[0];
}

static void serve_who(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	http_replyf(req, 200, "text/plain", "%.*s %s", (int)req->peer.n,
		    req->peer.p, req->inner ? "inner" : "outer");
}

static const char ask[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

static void test_adopted(void **state)
{
	struct ear *ear = new_ear();
	int fd, tcp;

	(void)state;
	kit_open(serve_who);
	fd = adopt(0);
	for (int i = 0; i < 2; i++) {
		say(fd, ask);
		hear(fd, ear, "unix inner");
		forget(ear);
	}
	tcp = dial();
	say(tcp, ask);
	hear(tcp, ear, " outer");
	close(fd);
	close(tcp);
	free(ear);
}

/* They take nobody's place, and nobody takes theirs. */
static void test_not_counted(void **state)
{
	struct ear *ear = new_ear();
	int own[3], tcp, more;

	(void)state;
	kit->limits.max_connections = 1;
	kit_open(serve_who);
	for (int i = 0; i < 2; i++)
		own[i] = adopt(0);
	tcp = dial();
	say(tcp, ask);
	hear(tcp, ear, " outer");
	own[2] = adopt(0);
	for (int i = 0; i < 3; i++) {
		forget(ear);
		say(own[i], ask);
		hear(own[i], ear, "unix inner");
	}
	forget(ear);
	more = dial();
	hear(more, ear, "too many connections");
	close(more);
	assert_int_equal(kit->server.n_inner, 3);
	for (int i = 0; i < 3; i++)
		close(own[i]);
	UNTIL(kit->server.n_inner == 0);
	/* Nor is anything left of them in what is used again. */
	close(tcp);
	UNTIL(kit->server.n_conns == 0);
	tcp = dial();
	forget(ear);
	say(tcp, ask);
	hear(tcp, ear, " outer");
	more = dial();
	forget(ear);
	hear(more, ear, "too many connections");
	close(more);
	close(tcp);
	free(ear);
}

static void test_none_while_it_ends(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_who);
	http_server_leave(&kit->server, on_server_closed);
	fd = adopt(E_UNAVAILABLE);
	hear_eof(fd, ear);
	close(fd);
	UNTIL(kit->server_closed);
	kit->server.lane = NULL; /* closed already */
	free(ear);
}

/* ---- taps ---- */

static struct buf body, answer;
static bool was_whole;

static void tap(struct http_req *req)
{
	buf_init(&body, 64);
	buf_init(&answer, 256);
	http_req_tap(req, &body, &answer);
	was_whole = http_req_is_whole(req);
}

static void untap(void)
{
	buf_fini(&body);
	buf_fini(&answer);
}

static void serve_tapped(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	if (kit->handed == 1)
		tap(req);
	http_req_body(req, 1 << 20, echo_body);
}

static void test_tap(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_tapped);
	fd = dial();
	say(fd, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
		"\r\n5\r\nhello\r\n");
	UNTIL(body.len == 5);
	assert_false(was_whole);
	assert_false(http_req_is_whole(kit->req));
	say(fd, "6\r\n world\r\n0\r\n\r\n");
	hear(fd, ear, "hello world");
	assert_string_equal(buf_cstr(&body), "hello world");
	assert_string_equal(buf_cstr(&answer), ear->text);
	/* The next on the connection is not noted. */
	say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nyou");
	hear(fd, ear, "\r\n\r\nyou");
	assert_string_equal(buf_cstr(&body), "hello world");
	assert_null(strstr(buf_cstr(&answer), "you"));
	untap();
	close(fd);
	free(ear);
}

/* What is too long is not noted whole, and goes its way. */
static void test_tap_is_full(void **state)
{
	struct ear *ear = new_ear();
	char text[1200];
	int fd;

	(void)state;
	kit_open(serve_tapped);
	fd = dial();
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1199\r\n\r\n");
	say(fd, text);
	hear(fd, ear, text);
	assert_true(body.full && answer.full);
	untap();
	close(fd);
	free(ear);
}

static void serve_tapped_proxy(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	tap(req);
	kit_proxy(req);
}

static void test_tap_of_a_proxy(void **state)
{
	struct ear *ear = new_ear(), *up = new_ear();
	int fd, up_fd;

	(void)state;
	kit_upstream();
	kit_open(serve_tapped_proxy);
	fd = dial();
	say(fd,
	    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
	up_fd = up_accept();
	hear(up_fd, up, "\r\n\r\nhello"); /* before the rest is there */
	say(fd, "world");
	hear(up_fd, up, "helloworld");
	assert_true(http_req_is_whole(kit->req));
	http_req_tap(kit->req, NULL, &answer);
	say(up_fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell");
	hear(fd, ear, "well");
	assert_string_equal(buf_cstr(&body), "helloworld");
	assert_string_equal(buf_cstr(&answer), ear->text);
	untap();
	close(fd);
	close(up_fd);
	free(ear);
	free(up);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_adopted),
		TEST(test_not_counted),
		TEST(test_none_while_it_ends),
		TEST(test_tap),
		TEST(test_tap_is_full),
		TEST(test_tap_of_a_proxy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
