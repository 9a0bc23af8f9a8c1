/* pass_on.h: requests that come to a daemon which has yielded, passed on to the
 * one that serves. */
#ifndef DAEMON_PASS_ON_H
#define DAEMON_PASS_ON_H

#include "http/proxy.h"

struct pass_on {
	struct http_upstream up;
	char *path; /* owned */
	bool open;
};

/* path: of the socket that the keeper has for this; taken. */
int pass_on_open(struct pass_on *p, struct lane *lane, char *path,
		 struct err *err);
/* req, which nothing was replied to. left_ms: of its time, -1: not known. What
 * comes of it is the other's; it is in that one's access log. */
void pass_on(struct pass_on *p, struct http_req *req, int64_t left_ms);

#endif
