/* What smuggling needs is refused; what is right passes however it is cut. */
#include "test_http_kit.h"

#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: x\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

struct bad {
	const char *name, *bytes;
	unsigned status;
	size_t n; /* 0: strlen */
};

/* strlen would stop at it */
#define NUL(name, text)                                                        \
	{                                                                      \
		name, text, 400, sizeof(text) - 1                              \
	}

static const struct bad bad_requests[] = {
	/* Content-Length and Transfer-Encoding */
	{"cl and te",
	 POST
	 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	 400, 0},
	{"te and cl",
	 POST
	 "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	 400, 0},
	{"te and cl 0",
	 POST
	 "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
	 400, 0},
	{"two equal cl",
	 POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, 0},
	{"two different cl",
	 POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, 0},
	{"cl list", POST "Content-Length: 5, 5\r\n\r\nhello", 400, 0},
	{"cl list without space", POST "Content-Length: 5,5\r\n\r\nhello", 400,
	 0},
	{"cl plus", POST "Content-Length: +5\r\n\r\nhello", 400, 0},
	{"cl minus", POST "Content-Length: -5\r\n\r\nhello", 400, 0},
	{"cl with space", POST "Content-Length: 5 5\r\n\r\nhello", 400, 0},
	{"cl hex", POST "Content-Length: 0x5\r\n\r\nhello", 400, 0},
	{"cl letters", POST "Content-Length: five\r\n\r\nhello", 400, 0},
	{"cl empty", POST "Content-Length:\r\n\r\nhello", 400, 0},
	{"cl blank", POST "Content-Length:  \r\n\r\nhello", 400, 0},
	{"cl dot", POST "Content-Length: 5.0\r\n\r\nhello", 400, 0},
	{"cl overflow of 64 bits",
	 POST "Content-Length: 18446744073709551621\r\n\r\nhello", 400, 0},
	{"cl overflow of 63 bits",
	 POST "Content-Length: 9223372036854775808\r\n\r\nhello", 400, 0},
	{"cl quoted", POST "Content-Length: \"5\"\r\n\r\nhello", 400, 0},
	{"te unknown", POST "Transfer-Encoding: gzip\r\n\r\n", 501, 0},
	{"te identity", POST "Transfer-Encoding: identity\r\n\r\n", 501, 0},
	{"te unknown before chunked",
	 POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, 0},
	{"te chunked not last",
	 POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, 0},
	{"te chunked twice",
	 POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, 0},
	{"te chunked in two lines",
	 POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
	      "chunked\r\n\r\n0\r\n\r\n",
	 400, 0},
	{"te identity behind chunked",
	 POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
	      "identity\r\n\r\n0\r\n\r\n",
	 400, 0},
	{"te empty", POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400, 0},
	{"te with parameter",
	 POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501, 0},
	{"te misspelt", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	 501, 0},
	{"te quoted", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
	 501, 0},
	{"te with vertical tab",
	 POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400, 0},
	{"te on 1.0",
	 "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: "
	 "chunked\r\n\r\n0\r\n\r\n",
	 400, 0},
	/* Lines */
	{"bare lf after request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", 400,
	 0},
	{"bare lf after header", "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400,
	 0},
	{"bare lf as empty line", "GET / HTTP/1.1\r\nHost: x\r\n\n", 400, 0},
	{"only lf", "GET / HTTP/1.1\nHost: x\n\n", 400, 0},
	{"leading lf", "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"bare cr in value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
	 400, 0},
	{"bare cr in name", "GET / HTTP/1.1\r\nHost: x\r\nA\rB: b\r\n\r\n", 400,
	 0},
	{"bare cr in request line", "GET /\r HTTP/1.1\r\nHost: x\r\n\r\n", 400,
	 0},
	{"cr cr lf", "GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", 400, 0},
	{"space before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, 0},
	{"tab before colon", POST "Content-Length\t: 5\r\n\r\nhello", 400, 0},
	{"space in name", "GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", 400,
	 0},
	{"empty name", "GET / HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n", 400, 0},
	{"no colon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400, 0},
	{"obs-fold", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400, 0},
	{"obs-fold by tab", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n",
	 400, 0},
	{"obs-fold of te",
	 POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, 0},
	{"blank before first header", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400,
	 0},
	NUL("nul in value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"),
	NUL("nul in name", "GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n"),
	NUL("nul in target", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"),
	{"control in value", "GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n",
	 400, 0},
	{"del in value", "GET / HTTP/1.1\r\nHost: x\r\nA: \x7f\r\n\r\n", 400,
	 0},
	{"high byte in name", "GET / HTTP/1.1\r\nHost: x\r\nA\xe9: b\r\n\r\n",
	 400, 0},
	{"bracket in name", "GET / HTTP/1.1\r\nHost: x\r\nA[]: b\r\n\r\n", 400,
	 0},
	/* Host */
	{"no host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400, 0},
	{"no headers at all", "GET / HTTP/1.1\r\n\r\n", 400, 0},
	{"two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, 0},
	{"host list", "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", 400, 0},
	{"host with path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400, 0},
	{"host with user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, 0},
	{"host with space", "GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400, 0},
	/* The request line */
	{"unknown method", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"lower-case method", "get / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"bad method", "G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"blank before method", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"two spaces before target", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400,
	 0},
	{"two spaces before version", "GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400,
	 0},
	{"tab for a space", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"space behind version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400, 0},
	{"space in target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"no target", "GET HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"relative target", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"fragment", "GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"high byte in target", "GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", 400,
	 0},
	{"control in target", "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"asterisk for get", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"absolute without host", "GET http:/// HTTP/1.1\r\nHost: x\r\n\r\n",
	 400, 0},
	{"absolute with user", "GET http://a@b/ HTTP/1.1\r\nHost: x\r\n\r\n",
	 400, 0},
	{"absolute of ftp", "GET ftp://a/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"connect", "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 501, 0},
	{"version 0.9", "GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505, 0},
	{"no version", "GET /\r\nHost: x\r\n\r\n", 400, 0},
	{"version 1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505, 0},
	{"version 2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, 0},
	{"preface of 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 0},
	{"version 3", "GET / HTTP/3\r\nHost: x\r\n\r\n", 400, 0},
	{"version of two digits", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400, 0},
	{"lower-case version", "GET / http/1.1\r\nHost: x\r\n\r\n", 400, 0},
	{"another protocol", "OPTIONS * RTSP/1.0\r\nHost: x\r\n\r\n", 400, 0},
	{"tls hello", "\x16\x03\x01\x02", 400, 0},
	{"expectation", "GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", 417,
	 0},
	/* Chunks */
	{"chunk size not hex", CHUNKED "g\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk size 0x", CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk size signed", CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk size negative", CHUNKED "-5\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk size empty", CHUNKED "\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk size with space", CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk size behind space", CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk size overflow",
	 CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk size all ones",
	 CHUNKED "fffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk lf", CHUNKED "5\nhello\r\n0\r\n\r\n", 400, 0},
	{"chunk cr", CHUNKED "5\rXhello\r\n0\r\n\r\n", 400, 0},
	{"chunk longer than said", CHUNKED "5\r\nhello!\r\n0\r\n\r\n", 400, 0},
	{"chunk ended by lf", CHUNKED "5\r\nhello\n0\r\n\r\n", 400, 0},
	{"chunk ended by nothing", CHUNKED "5\r\nhello0\r\n\r\n", 400, 0},
	{"extension with lf", CHUNKED "5;a\nhello\r\n0\r\n\r\n", 400, 0},
	{"extension with lf in it", CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", 400,
	 0},
	{"extension with cr", CHUNKED "5;a=\rb\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"extension value with lf", CHUNKED "5;a=b\nhello\r\n0\r\n\r\n", 400,
	 0},
	{"quoted extension with lf",
	 CHUNKED "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n", 400, 0},
	{"last chunk with lf", CHUNKED "0\n\r\n", 400, 0},
	{"end with lf", CHUNKED "0\r\n\n", 400, 0},
	{"trailer with lf", CHUNKED "0\r\nA: b\n\r\n", 400, 0},
	{"trailer with space before colon", CHUNKED "0\r\nA : b\r\n\r\n", 400,
	 0},
	{"trailer folded", CHUNKED "0\r\nA: b\r\n c\r\n\r\n", 400, 0},
	{"trailer with control", CHUNKED "0\r\nA: \x01\r\n\r\n", 400, 0},
	{"trailer of framing", CHUNKED "0\r\nContent-Length: 7\r\n\r\n", 400,
	 0},
	{"trailer without colon", CHUNKED "0\r\nnonsense\r\n\r\n", 400, 0},
};

/* One refused request: its status, an end, and nothing behind it served. */
static void expect_refusal(const struct bad *b, const char *bytes, size_t n,
			   bool behind)
{
	struct ear *ear = new_ear();
	unsigned handed = kit->handed;
	char status[32];
	int fd = dial();

	print_message("  %s\n", b->name);
	say_n(fd, bytes, n);
	if (behind)
		say(fd, SMUGGLED SMUGGLED);
	hear_eof(fd, ear);
	snprintf(status, sizeof status, "HTTP/1.1 %u ", b->status);
	if (strncmp(ear->text, status, strlen(status)) != 0)
		fail_msg("%s: wanted %s, got '%s'", b->name, status, ear->text);
	assert_int_equal(count(ear->text, "\r\nX-Request-Id: "), 1);
	assert_non_null(strstr(ear->text, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(ear->text, "\r\nX-Request-Id: "));
	assert_null(strstr(kit->targets, "smuggled"));
	/* Only a bad body comes after a head that was handed out. */
	assert_true(kit->handed - handed <= 1);
	close(fd);
	free(ear);
}

static void test_bad_requests(void **state)
{
	(void)state;
	kit_open(serve_echo);
	assert_true(ARRAY_LEN(bad_requests) >= 60);
	for (size_t i = 0; i < ARRAY_LEN(bad_requests); i++) {
		const struct bad *b = &bad_requests[i];

		expect_refusal(b, b->bytes, b->n ? b->n : strlen(b->bytes),
			       true);
	}
	assert_int_equal(strlen(kit->body), 0);
}

/* The same in pieces of one byte. */
static void test_bad_requests_in_pieces(void **state)
{
	(void)state;
	kit_open(serve_echo);
	for (size_t i = 0; i < ARRAY_LEN(bad_requests); i++) {
		const struct bad *b = &bad_requests[i];
		size_t n = b->n ? b->n : strlen(b->bytes);
		struct ear *ear = new_ear();
		char status[32];
		int fd = dial();

		for (size_t k = 0; k < n; k++) {
			say_n(fd, b->bytes + k, 1);
			turn();
		}
		say(fd, SMUGGLED);
		hear_eof(fd, ear);
		snprintf(status, sizeof status, "HTTP/1.1 %u ", b->status);
		if (strncmp(ear->text, status, strlen(status)) != 0)
			fail_msg("%s: '%s'", b->name, ear->text);
		assert_null(strstr(kit->targets, "smuggled"));
		close(fd);
		free(ear);
	}
}

/* Through the proxy none of it reaches the upstream as a request. */
static void test_bad_requests_are_not_forwarded(void **state)
{
	(void)state;
	kit_upstream();
	kit_open(serve_proxy);
	for (size_t i = 0; i < ARRAY_LEN(bad_requests); i++) {
		const struct bad *b = &bad_requests[i];
		struct ear *ear = new_ear();
		int fd = dial(), up;

		say_n(fd, b->bytes, b->n ? b->n : strlen(b->bytes));
		say(fd, SMUGGLED);
		hear_eof(fd, ear);
		if (atoi(ear->text + 9) != (int)b->status)
			fail_msg("%s: '%s'", b->name, ear->text);
		close(fd);
		forget(ear);
		ear->eof = false;
		up = accept4(kit->up_fd, NULL, NULL, SOCK_CLOEXEC);
		if (up >= 0) {
			hear_eof(up, ear); /* cut before the body's end */
			assert_null(strstr(ear->text, "smuggled"));
			assert_null(strstr(ear->text, "\r\n0\r\n\r\n"));
			close(up);
		}
		free(ear);
	}
}

/* Answers */

static const struct bad bad_responses[] = {
	{"not http", "hello\r\n\r\n", 502, 0},
	{"bare lf", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502, 0},
	{"version 2", "HTTP/2.0 200 OK\r\n\r\n", 502, 0},
	{"version 0.9", "HTTP/0.9 200 OK\r\n\r\n", 502, 0},
	{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", 502, 0},
	{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", 502, 0},
	{"status of letters", "HTTP/1.1 abc OK\r\n\r\n", 502, 0},
	{"status 099", "HTTP/1.1 099 OK\r\n\r\n", 502, 0},
	{"cl and te",
	 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: "
	 "chunked\r\n\r\n",
	 502, 0},
	{"two cl",
	 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
	 502, 0},
	{"cl list", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", 502, 0},
	{"cl sign", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", 502, 0},
	{"cl overflow",
	 "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\n", 502,
	 0},
	{"te unknown", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
	 502, 0},
	{"te twice",
	 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 502,
	 0},
	{"te on 1.0",
	 "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502,
	 0},
	{"obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", 502, 0},
	{"space before colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", 502, 0},
	{"bare cr", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", 502, 0},
	{"control", "HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n", 502, 0},
	{"control in reason", "HTTP/1.1 200 O\x01K\r\n\r\n", 502, 0},
	{"101 nobody asked for",
	 "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: "
	 "x\r\n\r\n",
	 502, 0},
};

static void test_bad_responses(void **state)
{
	(void)state;
	kit_upstream();
	kit_open(serve_proxy);
	for (size_t i = 0; i < ARRAY_LEN(bad_responses); i++) {
		const struct bad *b = &bad_responses[i];
		struct ear *ear = new_ear(), *up_ear = new_ear();
		int fd = dial(), up;

		say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
		up = up_accept();
		hear(up, up_ear, "\r\n\r\n");
		say(up, b->bytes);
		hear(fd, ear, "\r\n\r\n");
		if (strncmp(ear->text, "HTTP/1.1 502 ", 13) != 0)
			fail_msg("%s: '%s'", b->name, ear->text);
		assert_int_equal(kit->n_ends, i + 1);
		if (kit->ends[i] != PROXY_BAD_RESPONSE)
			fail_msg("%s: end %d", b->name, (int)kit->ends[i]);
		hear_eof(up, up_ear);
		close(fd);
		close(up);
		free(ear);
		free(up_ear);
	}
}

/* Bad chunks come after the head was passed on: the client's answer is cut. */
static void test_bad_chunks_of_answer(void **state)
{
	static const char *const bad[] = {
		"g\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n",
		"5\r\nhello!\r\n0\r\n\r\n", "5;a\nhello\r\n0\r\n\r\n",
		"fffffffffffffffff\r\nhello\r\n"};

	(void)state;
	kit_upstream();
	kit_open(serve_proxy);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct ear *ear = new_ear(), *up_ear = new_ear();
		int fd = dial(), up;

		say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
		up = up_accept();
		hear(up, up_ear, "\r\n\r\n");
		say(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
			"chunked\r\n\r\n");
		hear(fd, ear, "\r\n\r\n");
		say(up, bad[i]);
		hear_eof(fd, ear);
		assert_null(strstr(ear->text, "\r\n0\r\n\r\n"));
		assert_int_equal(kit->ends[i], PROXY_CUT);
		close(fd);
		close(up);
		free(ear);
		free(up_ear);
	}
	assert_int_equal(kit->gone, ARRAY_LEN(bad));
}

/* What is right */

static const char good[] =
	"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n"
	"Trailer: T\r\n\r\n"
	"3;a=b;c=\"d e\"\r\nwor\r\n00002\r\nld\r\n0\r\nT: x\r\n"
	"Host: y\r\n\r\n"
	"\r\nGET /c?d HTTP/1.1\r\nHost: x\r\nX-High: \xe9\r\nEmpty:\r\nTab: a "
	"\t\r\n\r\n"
	"POST http://h:1/d HTTP/1.1\r\nhOST: x\r\nContent-length:   3  \r\n"
	"\r\nabc"
	"GET /last HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n";

static void expect_good(const struct ear *ear)
{
	static const char *const bodies[] = {"\r\n\r\nhello", "\r\n\r\nworld",
					     "\r\n\r\nHTTP", "\r\n\r\nabc",
					     "\r\n\r\n"};
	const char *at = ear->text;

	assert_int_equal(count(ear->text, "HTTP/1.1 200 OK"), 5);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		at = strstr(at, bodies[i]);
		assert_non_null(at);
		at += 4;
	}
	assert_string_equal(kit->targets, "/a /b /c?d /d /last ");
}

static void test_good_cut_anywhere(void **state)
{
	(void)state;
	kit_open(serve_echo);
	for (size_t i = 0; i <= sizeof good - 1; i++) {
		struct ear *ear = new_ear();
		int fd = dial();

		kit->targets[0] = 0;
		say_n(fd, good, i);
		turn();
		turn();
		say_n(fd, good + i, sizeof good - 1 - i);
		hear_eof(fd, ear);
		expect_good(ear);
		close(fd);
		free(ear);
	}
}

static void test_good_byte_by_byte(void **state)
{
	struct ear *ear = new_ear();
	int fd;

	(void)state;
	kit_open(serve_echo);
	fd = dial();
	for (size_t i = 0; i < sizeof good - 1; i++) {
		say_n(fd, good + i, 1);
		turn();
	}
	hear_eof(fd, ear);
	expect_good(ear);
	close(fd);
	free(ear);
}

static void test_answer_byte_by_byte(void **state)
{
	static const char answer[] =
		"HTTP/1.1 102 Processing\r\n\r\n"
		"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n"
		"A: b\r\n\r\n5\r\nhello\r\n6;x\r\n world\r\n0\r\nT: u\r\n\r\n";
	struct ear *ear = new_ear(), *up_ear = new_ear();
	int fd, up;

	(void)state;
	kit_upstream();
	kit_open(serve_proxy);
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	up = up_accept();
	hear(up, up_ear, "\r\n\r\n");
	for (size_t i = 0; i < sizeof answer - 1; i++) {
		say_n(up, answer + i, 1);
		turn();
	}
	hear(fd, ear, "0\r\n\r\n");
	assert_non_null(strstr(ear->text, "HTTP/1.1 200 Fine\r\nA: b\r\n"));
	assert_null(strstr(ear->text, "102"));
	assert_null(strstr(ear->text, "T: u"));
	assert_int_equal(kit->ends[0], PROXY_DONE);
	assert_int_equal(kit->up.n_idle, 1);
	close(fd);
	close(up);
	free(ear);
	free(up_ear);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_bad_requests),
		TEST(test_bad_requests_in_pieces),
		TEST(test_bad_requests_are_not_forwarded),
		TEST(test_bad_responses),
		TEST(test_bad_chunks_of_answer),
		TEST(test_good_cut_anywhere),
		TEST(test_good_byte_by_byte),
		TEST(test_answer_byte_by_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
