/* Connections: what bounds them, and how they end. */
#include "test_http_kit.h"

#include <malloc.h>

#include "http/internal.h"
#include "http/limits.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"

static void expect_status(const char *text, size_t n, const char *status)
{
	struct ear *ear = new_ear();
	int fd = dial();

	say_n(fd, text, n);
	hear_eof(fd, ear);
	if (!strstr(ear->text, status))
		fail_msg("wanted %s, got '%s'", status, ear->text);
	close(fd);
	free(ear);
}

static void test_limits(void **state)
{
	static char text[200000];
	size_t n;

	(void)state;
	kit->limits.request_line_bytes = 1000;
	kit->limits.header_bytes = 4000;
	kit->limits.header_count = 10;
	kit->limits.body_bytes = 100;
	kit_open(serve_echo);
	/* The request line, with its end and without. */
	n = (size_t)sprintf(text, "GET /%0995d HTTP/1.1\r\n", 0);
	expect_status(text, n, "HTTP/1.1 414 ");
	n = (size_t)sprintf(text, "GET /%01500d", 0);
	expect_status(text, n, "HTTP/1.1 414 ");
	/* All headers */
	n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: x\r\nA: %05000d", 0);
	expect_status(text, n, "HTTP/1.1 431 ");
	n = (size_t)sprintf(
		text, "GET / HTTP/1.1\r\nHost: x\r\nA: %04000d\r\n\r\n", 0);
	expect_status(text, n, "HTTP/1.1 431 ");
	n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 10; i++)
		n += (size_t)sprintf(text + n, "A%d: b\r\n", i);
	expect_status(text, n, "HTTP/1.1 431 ");
	n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: x\r\nConnection: "
				  "close\r\n");
	for (int i = 0; i < 8; i++)
		n += (size_t)sprintf(text + n, "A%d: b\r\n", i);
	n += (size_t)sprintf(text + n, "\r\n");
	expect_status(text, n, "HTTP/1.1 200 ");
	/* The body, by its length and by what comes */
	n = (size_t)sprintf(text, "POST / HTTP/1.1\r\nHost: x\r\n"
				  "Content-Length: 101\r\n\r\n");
	expect_status(text, n, "HTTP/1.1 413 ");
	n = (size_t)sprintf(text,
			    "POST / HTTP/1.1\r\nHost: x\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n"
			    "32\r\n%050d\r\n33\r\n%051d\r\n",
			    0, 0);
	expect_status(text, n, "HTTP/1.1 413 ");
	/* Trailers and extensions count as headers. */
	n = (size_t)sprintf(text,
			    "POST / HTTP/1.1\r\nHost: x\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n"
			    "0\r\nA: %05000d\r\n\r\n",
			    0);
	expect_status(text, n, "HTTP/1.1 431 ");
	n = (size_t)sprintf(text,
			    "POST / HTTP/1.1\r\nHost: x\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n"
			    "1;a=%05000d\r\nx\r\n0\r\n\r\n",
			    0);
	expect_status(text, n, "HTTP/1.1 431 ");
	assert_int_equal(http_limit_count, 9);
	assert_string_equal(http_limit_table[0].name, "request_line_bytes");
}

static void collect_little(struct http_req *req, void *data)
{
	(void)data;
	kit_note(req);
	http_req_body(req, 10, echo_body);
}

static void test_body_of_handler_too_big(void **state)
{
	const char *by_length = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "
				"11\r\n\r\nhello world";
	const char *by_chunks =
		"POST / HTTP/1.1\r\nHost: x\r\n"
		"Transfer-Encoding: chunked\r\n\r\n"
		"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n" GET("/2");

	(void)state;
	kit_open(collect_little);
	expect_status(by_length, strlen(by_length), "HTTP/1.1 413 ");
	expect_status(by_chunks, strlen(by_chunks), "HTTP/1.1 413 ");
	assert_string_equal(kit->targets, "/ / ");
	assert_int_equal(kit->body_n, 0);
}

static void test_timeouts(void **state)
{
	struct ear *ear = new_ear();
	uint64_t began;
	int fd;

	(void)state;
	kit->limits.header_timeout_ms = 200;
	kit->limits.idle_timeout_ms = 400;
	kit->limits.body_timeout_ms = 200;
	kit_open(serve_echo);
	expect_status("GET / HT", 8, "HTTP/1.1 408 ");
	expect_status("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
		      "a",
		      strlen("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "
			     "3\r\n\r\na"),
		      "HTTP/1.1 408 ");
	assert_int_equal(kit->gone, 1);
	fd = dial();
	began = now_ms();
	hear_eof(fd, ear);
	assert_true(now_ms() - began >= 300);
	assert_int_equal(ear->n, 0);
	close(fd);
	free(ear);
}

static void test_write_timeout(void **state)
{
	static char block[64 * 1024];
	int fd;

	(void)state;
	kit->limits.write_timeout_ms = 300;
	kit_open(serve_hold);
	fd = dial();
	say(fd, GET("/"));
	UNTIL(kit->req);
	http_reply_start(kit->req, 200, "text/plain", NULL);
	while (http_reply_chunk(kit->req, block, sizeof block))
		;
	UNTIL(kit->over);
	assert_int_equal(kit->gone, 1);
	close(fd);
}

static void test_max_connections(void **state)
{
	struct ear *ear = new_ear();
	int a, b;

	(void)state;
	kit->limits.max_connections = 1;
	kit_open(serve_hello);
	a = dial();
	say(a, GET("/"));
	hear(a, ear, "hello");
	forget(ear);
	b = dial();
	hear_eof(b, ear);
	assert_non_null(strstr(ear->text, "HTTP/1.1 503 "));
	assert_non_null(strstr(ear->text, "\r\nX-Request-Id: "));
	close(a);
	close(b);
	free(ear);
}

/* Ends */

static void test_client_leaves(void **state)
{
	struct linger now = {1, 0};
	int fd;

	(void)state;
	kit_open(serve_hold);
	/* while a handler thinks */
	fd = dial();
	say(fd, GET("/1"));
	UNTIL(kit->req);
	close(fd);
	UNTIL(kit->gone == 1);
	/* by a reset */
	fd = dial();
	say(fd, GET("/2"));
	UNTIL(kit->req);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
	UNTIL(kit->gone == 2);
	/* with more requests waiting, when nothing is read */
	fd = dial();
	say(fd, GET("/3") GET("/4"));
	UNTIL(kit->req);
	close(fd);
	UNTIL(kit->gone == 3);
	/* in the middle of a body nobody has asked for */
	fd = dial();
	say(fd, "POST /5 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
	UNTIL(kit->req);
	close(fd);
	UNTIL(kit->gone == 4);
	/* in the middle of a head: no request at all */
	fd = dial();
	say(fd, "GET / HTT");
	close(fd);
	UNTIL(kit->lane.n_conns == 0);
	assert_string_equal(kit->targets, "/1 /2 /3 /5 ");
}

static void on_drained(struct http_server *s)
{
	(void)s;
	kit->server_closed = true;
}

static void test_drain(void **state)
{
	struct ear *ear = new_ear();
	int idle, busy;

	(void)state;
	kit_open(serve_hold);
	idle = dial();
	busy = dial();
	say(busy, GET("/"));
	UNTIL(kit->req && kit->lane.n_conns == 2);
	http_server_drain(&kit->server, on_drained);
	assert_false(kit->server_closed);
	hear_eof(idle, ear);
	turn_for(20);
	assert_false(kit->server_closed);
	http_reply(kit->req, 200, "text/plain", "bye", 3);
	forget(ear);
	ear->eof = false;
	hear_eof(busy, ear);
	assert_non_null(strstr(ear->text, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(ear->text, "bye"));
	close(busy);
	close(idle);
	UNTIL(kit->server_closed);
	free(ear);
}

/* Connections stay until their next answer, idle ones, too. */
static void test_leave(void **state)
{
	struct ear *ear = new_ear();
	int idle, busy;

	(void)state;
	kit_open(serve_hold);
	idle = dial();
	busy = dial();
	say(busy, GET("/"));
	UNTIL(kit->req && kit->lane.n_conns == 2);
	http_server_leave(&kit->server, on_drained);
	turn_for(20);
	assert_int_equal(kit->lane.n_conns, 2);
	http_reply(kit->req, 200, "text/plain", "one", 3);
	kit->req = NULL;
	hear_eof(busy, ear);
	assert_non_null(strstr(ear->text, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(ear->text, "one"));
	say(idle, GET("/"));
	UNTIL(kit->req);
	assert_false(kit->server_closed);
	http_reply(kit->req, 200, "text/plain", "two", 3);
	forget(ear);
	ear->eof = false;
	hear_eof(idle, ear);
	assert_non_null(strstr(ear->text, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(ear->text, "two"));
	close(busy);
	close(idle);
	UNTIL(kit->server_closed);
	free(ear);
}

static void test_cut(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_hold);
	fd = dial();
	say(fd, GET("/"));
	UNTIL(kit->req);
	http_server_drain(&kit->server, on_drained);
	http_server_cut(&kit->server);
	assert_int_equal(kit->over, 0);
	hear_eof(fd, ear);
	UNTIL(kit->server_closed);
	assert_int_equal(kit->gone, 1);
	close(fd);
	free(ear);
}

static void test_unix_socket(void **state)
{
	struct http_server_opts opts = {.on_request = serve_hello};
	struct http_server server;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct ear *ear = new_ear();
	struct err err = {0};
	int fd;

	(void)state;
	opts.on_log = kit_on_log;
	snprintf(un.sun_path, sizeof un.sun_path, "/tmp/soma-test-s-%d",
		 (int)getpid());
	assert_int_equal(http_server_open(&server, &kit->lane,
					  unix_listener(un.sun_path), &opts,
					  &err),
			 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (void *)&un, sizeof un), 0);
	say(fd, GET("/"));
	hear(fd, ear, "hello");
	http_server_drain(&server, on_drained);
	UNTIL(kit->server_closed);
	assert_int_not_equal(
		http_server_open(&server, &kit->lane, -1, &opts, &err), 0);
	close(fd);
	unlink(un.sun_path);
	free(ear);
}

/* Idle connections, in bytes of this process's heap. */
static void test_idle_memory(void **state)
{
	struct rlimit files;
	size_t before, after, each;
	unsigned n = 10000;
	int *fds;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < 2 * n + 100)
		n = (unsigned)(files.rlim_cur - 100) / 2;
	fds = calloc(n, sizeof *fds);
	kit_open(serve_hello);
	before = mallinfo2().uordblks;
	for (unsigned i = 0; i < n; i++) {
		struct ear *ear = i % 100 == 0 ? new_ear() : NULL;

		fds[i] = dial();
		turn();
		if (ear) { /* some have had a request */
			say(fds[i], GET("/"));
			hear(fds[i], ear, "hello");
			free(ear);
			kit->targets[0] = 0;
		}
	}
	UNTIL(kit->lane.n_conns == n);
	after = mallinfo2().uordblks;
	each = (after - before) / n;
	print_message("  %u idle connections: %zu bytes each, %zu of struct\n",
		      n, each, sizeof(struct conn));
	/* Under a sanitizer mallinfo2 knows nothing: the struct is known. */
	assert_true(sizeof(struct conn) <= 1024);
	assert_true(each <= 1024 || before == after);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	UNTIL(kit->lane.n_conns == 0);
	free(fds);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_limits),
		TEST(test_body_of_handler_too_big),
		TEST(test_timeouts),
		TEST(test_write_timeout),
		TEST(test_max_connections),
		TEST(test_client_leaves),
		TEST(test_drain),
		TEST(test_leave),
		TEST(test_cut),
		TEST(test_unix_socket),
		TEST(test_idle_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
