/* Clients, handlers and an upstream that do what a seed says, in any order.
 * Whatever happens: every request ends once, nothing is used after its end
 * (the sanitizer build looks), and the loop closes empty. */
#include "test_http_kit.h"

enum { CLIENTS = 24, UPS = 24, STEPS = 20000 };

static uint64_t seed;

static unsigned pick(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % n;
}

/* Requests the handler holds. */
static struct http_req *held[256];
static unsigned n_held;
static unsigned long ends_seen[8];

static void forget_req(struct http_req *req)
{
	for (unsigned i = 0; i < n_held; i++)
		if (held[i] == req) {
			held[i] = held[--n_held];
			return;
		}
}

static void on_torture_over(struct http_req *req)
{
	forget_req(req);
	kit_on_over(req);
}

static void on_torture_body(struct http_req *req, const char *body, size_t len)
{
	http_reply(req, 200, "text/plain", body, len);
}

static void on_torture_chunk(struct http_req *req, const char *data, size_t len)
{
	(void)data, (void)len;
	if (pick(3) == 0) {
		http_req_pause(req);
		if (pick(2))
			http_req_resume(req);
	}
}

static void on_torture_chunks(struct http_req *req)
{
	http_reply(req, 200, "text/plain", "all", 3);
}

static void on_torture_end(struct http_req *req, enum http_proxy_end end,
			   void *data);

static void on_torture_head(struct http_req *req, unsigned status, bool stream,
			    void *data)
{
	(void)status, (void)stream, (void)data;
	if (pick(30) == 0)
		http_proxy_cancel(req);
}

static void torture_proxy(struct http_req *req)
{
	struct http_proxy_opts opts = {.target = req->target,
				       .keep_body = pick(2) ? 0 : 10,
				       .not_begun = pick(2) ? STR("not-begun")
							    : (struct str){0},
				       .on_head = on_torture_head,
				       .on_end = on_torture_end};

	http_proxy(req, &kit->up, &opts);
}

static void act(struct http_req *req);

static void on_torture_end(struct http_req *req, enum http_proxy_end end,
			   void *data)
{
	(void)data;
	ends_seen[end]++;
	if (end == PROXY_DONE || end == PROXY_GONE || end == PROXY_CUT)
		return;
	if (pick(2) && http_proxy_repeatable(req) && end != PROXY_NO_CONNECT)
		torture_proxy(req);
	else if (pick(2))
		held[n_held++] = req;
	else
		http_reply_error(req, E_UPSTREAM, "over");
}

static void stream_out(struct http_req *req)
{
	static char block[40000];

	http_reply_start(req, 200, "text/plain", NULL);
	for (unsigned i = pick(6); i > 0; i--)
		http_reply_chunk(req, block, 1 + pick(sizeof block));
	if (pick(3))
		http_reply_end(req);
	else
		http_reply_abort(req);
}

/* What a handler may do with a request that is its own. */
static void act(struct http_req *req)
{
	switch (pick(8)) {
	case 0:
		http_reply(req, 200, "text/plain", "hello", 5);
		break;
	case 1:
		if (http_proxy_repeatable(req) && !req->user) {
			req->user = req;
			http_req_body(req, 1000, on_torture_body);
			break;
		}
		http_reply(req, 204, NULL, NULL, 0);
		break;
	case 2:
		if (!req->user) {
			req->user = req;
			http_req_stream(req, on_torture_chunk,
					on_torture_chunks);
			break;
		}
		http_reply_error(req, E_NOTFOUND, "no");
		break;
	case 3:
		stream_out(req);
		break;
	default:
		if (!req->user && http_proxy_repeatable(req))
			torture_proxy(req);
		else
			http_reply(req, 503, NULL, NULL, 0);
	}
}

static void serve_torture(struct http_req *req, void *data)
{
	(void)data;
	kit->handed++;
	req->on_over = on_torture_over;
	if (pick(4) == 0 && n_held < ARRAY_LEN(held) / 2)
		held[n_held++] = req;
	else
		act(req);
}

static const char *const requests[] = {
	"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n",
	"HEAD /4 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /5 HTTP/1.0\r\n\r\n",
	"POST /6 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789",
	("POST /7 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\nT: t\r\n\r\n"),
	("POST /8 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
	 "Expect: 100-continue\r\n\r\nab"),
	("POST /9 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "5\r\nhello\r\nzz\r\n"),
	("GET /10 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
	 "Upgrade: u\r\n\r\n"),
	"nonsense\r\n\r\n",
	"POST /11 HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n",
};

static const char *const answers[] = {
	"HTTP/1.1 503 Later\r\nNot-Begun: 1\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	 "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
	"HTTP/1.1 200 OK\r\n\r\nuntil the end",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
	"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: u\r\n\r\nraw",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	"nonsense\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\nmore",
};

/* A plain socket with what it is about to say. */
struct peer {
	int fd;
	const char *text;
	size_t at, n;
};

static void peer_close(struct peer *p)
{
	struct linger now = {1, 0};

	if (p->fd < 0)
		return;
	if (pick(2))
		setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(p->fd);
	p->fd = -1;
}

static void peer_read(struct peer *p)
{
	static char sink[100000];
	ssize_t rc = recv(p->fd, sink, 1 + pick(sizeof sink), MSG_DONTWAIT);

	if (rc == 0 || (rc < 0 && errno != EAGAIN))
		peer_close(p);
}

static void peer_say(struct peer *p, const char *const *texts, unsigned n)
{
	static char filler[30000];
	size_t piece;
	ssize_t rc;

	if (!p->text || p->at == p->n) {
		p->text = pick(5) ? texts[pick(n)] : filler;
		p->n = p->text == filler ? pick(sizeof filler)
					 : strlen(p->text);
		p->at = 0;
	}
	piece = pick(3) ? p->n - p->at : pick((unsigned)(p->n - p->at) + 1);
	rc = send(p->fd, p->text + p->at, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (rc > 0)
		p->at += (size_t)rc;
	else if (rc < 0 && errno != EAGAIN)
		peer_close(p);
}

static void client_acts(struct peer *p)
{
	if (p->fd < 0) {
		p->fd = dial();
		p->text = NULL;
		return;
	}
	switch (pick(16)) {
	case 0:
		peer_close(p);
		break;
	case 1:
		shutdown(p->fd, SHUT_WR);
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		peer_read(p);
		break;
	default:
		peer_say(p, requests, ARRAY_LEN(requests));
	}
}

static void upstream_acts(struct peer *p)
{
	if (p->fd < 0) {
		p->fd = accept4(kit->up_fd, NULL, NULL, SOCK_CLOEXEC);
		p->text = NULL;
		return;
	}
	switch (pick(16)) {
	case 0:
		peer_close(p);
		break;
	case 1:
		shutdown(p->fd, SHUT_WR);
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		peer_read(p);
		break;
	default:
		peer_say(p, answers, ARRAY_LEN(answers));
	}
}

static void handler_acts(void)
{
	struct http_req *req;

	if (!n_held)
		return;
	req = held[pick(n_held)];
	forget_req(req);
	act(req);
}

static void run_with(uint64_t with)
{
	struct peer clients[CLIENTS], ups[UPS];

	print_message("  seed %llu\n", (unsigned long long)with);
	seed = with * 0x9e3779b97f4a7c15u + 1;
	n_held = 0;
	kit->limits.header_timeout_ms = 300;
	kit->limits.body_timeout_ms = 300;
	kit->limits.write_timeout_ms = 300;
	kit->limits.idle_timeout_ms = 300;
	kit_upstream();
	kit->up.max_idle = 4;
	kit_open(serve_torture);
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = ups[i] = (struct peer){.fd = -1};
	for (int i = 0; i < STEPS; i++) {
		if (pick(4) == 0)
			turn();
		else if (pick(8) == 0)
			handler_acts();
		else if (pick(2))
			client_acts(&clients[pick(CLIENTS)]);
		else
			upstream_acts(&ups[pick(UPS)]);
	}
	for (int i = 0; i < CLIENTS; i++) {
		peer_close(&clients[i]);
		peer_close(&ups[i]);
	}
	print_message("  %u requests\n", kit->handed);
	assert_true(kit->handed > 100);
}

#define SEEDED(n)                                                              \
	static void test_seed_##n(void **state)                                \
	{                                                                      \
		const char *first = getenv("SOMA_TEST_SEED");                  \
		(void)state;                                                   \
		run_with((first ? strtoull(first, NULL, 10) : 0) + (n));       \
	}

SEEDED(1)
SEEDED(2)
SEEDED(3)
SEEDED(4)
SEEDED(5)
SEEDED(6)
SEEDED(7)
SEEDED(8)

static void test_all_ends_were_seen(void **state)
{
	(void)state;
	for (int end = PROXY_DONE; end <= PROXY_CUT; end++)
		if (end != PROXY_NO_CONNECT)
			assert_true(ends_seen[end] > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_seed_1),
		TEST(test_seed_2),
		TEST(test_seed_3),
		TEST(test_seed_4),
		TEST(test_seed_5),
		TEST(test_seed_6),
		TEST(test_seed_7),
		TEST(test_seed_8),
		TEST(test_all_ends_were_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
