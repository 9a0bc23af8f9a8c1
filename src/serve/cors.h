/* cors.h: what pages of other sites may do with an api (networking.cors): their
 * questions answered, and answers marked for them. */
#ifndef SERVE_CORS_H
#define SERVE_CORS_H

#include <stdbool.h>

#include "http/server.h"

struct api;

/* Before anything else is done with a request to this api. True: it was a
 * browser's question (preflight) and is answered, whether or not a replica
 * runs. Else the answer to come, a replica's or our own, gets the headers that
 * the api's networking.cors wants; those of a replica are left out then. An api
 * without origins is not touched: its replica may have rules of its own. */
/* Whether it is such a question: nothing is done about it. */
bool cors_asks(const struct api *a, const struct http_req *req);
bool cors_apply(const struct api *a, struct http_req *req);

#endif
