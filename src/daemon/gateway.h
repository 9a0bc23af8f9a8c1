/* gateway.h: the data plane's requests: to an api's gate, or answered here. */
#ifndef DAEMON_GATEWAY_H
#define DAEMON_GATEWAY_H

#include "http/server.h"

/* data: struct serve. */
void gateway_on_request(struct http_req *req, void *data);
/* The access log: one line a request, at level info with JSON, debug on a
 * terminal. */
void gateway_on_log(struct http_req *req, void *data);

#endif
