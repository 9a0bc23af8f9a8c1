/* wish.h: what a request asks of the gate, in its headers. */
#ifndef SERVE_WISH_H
#define SERVE_WISH_H

#include "http/server.h"
#include "policy/queue.h"

#define WISH_TIMEOUT "X-Request-Timeout"
#define WISH_PRIORITY "X-Soma-Priority"
#define WISH_TIMING "X-Soma-Timing"
#define WISH_COLD "X-Soma-Cold"
#define WISH_ON_COLD "X-Soma-On-Cold"
/* The same call has the same key, however often it is sent. */
#define WISH_KEY "Idempotency-Key"
#define WISH_AWS_KEY "amz-sdk-invocation-id" /* what AWS's clients send */

enum wish_timing { WISH_UNSAID, WISH_TIMED, WISH_UNTIMED };

/* What it meets where no replica is ready. */
enum wish_on_cold { WISH_AS_API, WISH_HOLD, WISH_RETRY };

struct wish {
	int64_t timeout_ms; /* -1: none given */
	enum priority priority;
	enum wish_timing timing; /* whether Server-Timing is wanted */
	bool cold; /* whether the answer is to say how cold the start was */
	enum wish_on_cold on_cold;
	struct str key; /* n == 0: none */
	bool aws_key;	/* it is WISH_AWS_KEY's */
};

/* NULL, or what is wrong with them, in the request's arena. */
const char *wish_read(struct http_req *req, struct wish *ret);

#endif
