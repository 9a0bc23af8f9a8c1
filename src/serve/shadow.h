/* shadow.h: copies of a splitter's requests for its shadow, whose answers are
 * compared with those that clients got, and dropped. */
#ifndef SERVE_SHADOW_H
#define SERVE_SHADOW_H

#include "serve/api.h"

/* Marks a copy. */
#define SHADOW_HEADER "X-Soma-Shadow"

/* Sends the request on to `to`, as the splitter has decided; a copy to the
 * splitter's shadow, too, where this is one of those that it gets, and where
 * there is room for one. */
void shadow_accept(struct api *splitter, struct api *to, struct http_req *req);
/* The request of the client is over (on_log). */
void shadow_on_main_over(struct http_req *req);

#endif
