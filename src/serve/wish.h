/* wish.h: what a request asks of the gate, in its headers. */
#ifndef SERVE_WISH_H
#define SERVE_WISH_H

#include "http/server.h"
#include "policy/queue.h"

#define WISH_TIMEOUT "X-Request-Timeout"
#define WISH_PRIORITY "X-Soma-Priority"

struct wish {
	int64_t timeout_ms; /* -1: none given */
	enum priority priority;
};

/* NULL, or what is wrong with them, in the request's arena. */
const char *wish_read(struct http_req *req, struct wish *ret);

#endif
