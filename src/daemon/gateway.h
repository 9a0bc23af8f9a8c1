/* gateway.h: the data plane's requests: to an api's gate, or answered here; and
 * their access log. */
#ifndef DAEMON_GATEWAY_H
#define DAEMON_GATEWAY_H

#include "http/server.h"
#include "loop/logfile.h"
#include "serve/serve.h"

struct gateway {
	struct serve *serve;   /* borrowed */
	struct logfile access; /* DATA/logs/access.jsonl */
	bool logs;	       /* whether it is written */
	int64_t second;	       /* private: of `stamp` */
	char stamp[32];	       /* private: "2026-01-02T03:04:05" */
	struct buf line;       /* private: one of the log, being written */
};

void gateway_init(struct gateway *g, struct serve *serve, bool logs);
/* on_closed of the access log: then the memory is the owner's. */
void gateway_close(struct gateway *g, void (*on_closed)(struct logfile *f));

/* http_on_request and http_on_log; data is the struct gateway. A line of the
 * access log:
 * {"time","method","path","status","ms","in","out","peer","request_id","gone"?}:
 * bytes of bodies; no query, no bodies. */
void gateway_on_request(struct http_req *req, void *data);
void gateway_on_log(struct http_req *req, void *data);

#endif
