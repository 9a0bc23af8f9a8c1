/* proxy.h: passes a request on to an upstream over pooled connections, and its
 * answer back. */
#ifndef HTTP_PROXY_H
#define HTTP_PROXY_H

#include <sys/socket.h>
#include <sys/un.h>

#include "http/server.h"

/* Where requests can be sent: an address with its pooled keep-alive
 * connections. Embedded by value in its owner, which outlives every proxy on
 * it. */
struct http_upstream {
	struct lane *lane;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	struct list link;   /* private: in lane->upstreams */
	struct list idle;   /* private: LIFO */
	struct list busy;   /* private */
	struct list probes; /* private */
	uint32_t n_open;    /* private: handles not closed yet */
	uint32_t n_idle, n_busy;
	uint32_t max_idle; /* kept open between requests */
	uint32_t idle_ms;  /* idle connections older than this are closed; 0:
			      never */
	bool closing;
	void (*on_closed)(struct http_upstream *up); /* private */
};

/* Unix socket path, or TCP 127.0.0.1:port when path is NULL. No I/O yet. */
int http_upstream_init(struct http_upstream *up, struct lane *lane,
		       const char *path, int port, struct err *err);
/* Closes idle connections now, busy ones are cut (their proxies end with
 * PROXY_DIED or PROXY_CUT). on_closed fires once nothing is left, never
 * before this returns. */
void http_upstream_close(struct http_upstream *up,
			 void (*on_closed)(struct http_upstream *));

enum http_proxy_end {
	PROXY_DONE, /* answered in full */
	PROXY_GONE, /* the client went away, or broke the framing, limits or
		       timeouts of its body (it has its 4xx); the upstream
		       connection was closed */
	PROXY_NO_CONNECT, /* nothing was sent to the upstream. req is the
			     caller's again */
	PROXY_DIED, /* upstream closed or broke, nothing was sent to the client.
		       req is the caller's again */
	PROXY_BAD_RESPONSE, /* not HTTP. Nothing was sent to the client. req is
			       the caller's again */
	PROXY_NOT_BEGUN, /* the upstream says that it has not begun to work on
			    it (opts.not_begun). req is the caller's again */
	PROXY_CANCELED,	 /* http_proxy_cancel before anything was sent to the
			    client. req is the caller's again */
	PROXY_CUT, /* upstream died or was cancelled after the answer had begun:
		      client connection is cut */
};

struct http_proxy_opts {
	struct str target; /* sent upstream in place of req->target */
	/* Sent upstream beside the client's (hop-by-hop ones removed,
	 * X-Forwarded-* and X-Request-Id set by the proxy itself). The client's
	 * of the same name are left out. Read before http_proxy returns. */
	const struct http_header *add;
	uint32_t n_add;
	/* A header that only the caller sends upstream, by `add`: the client's
	 * is left out. n == 0 for none. */
	struct str ours;
	/* Request bodies up to this size are kept until the answer begins, so
	 * that the request can be sent again (http_proxy may be called anew
	 * with the same req after an end that gives req back). */
	size_t keep_body; /* 0: 1 MiB */
	/* A header with which, in a 503, the upstream says that it has done
	 * nothing with the request yet: n == 0 for none. */
	struct str not_begun;
	/* When the head of the answer arrived, before it is passed on. stream:
	 * it does not say how long the answer is, which may still be in the
	 * making. May be NULL. */
	void (*on_head)(struct http_req *req, unsigned status, bool stream,
			void *data);
	/* The answer has begun to come, and waits for a client (req->keep).
	 * on_head comes when there is one. May be NULL. */
	void (*on_held)(struct http_req *req, void *data);
	void (*on_end)(struct http_req *req, enum http_proxy_end end,
		       void *data);
	void *data;
};

/* Starts passing req on. on_end is called exactly once, possibly before this
 * returns. After DONE, GONE and CUT req must not be touched again by the
 * caller except in its on_over, which comes right after on_end. After the
 * others req is the caller's: proxy again (if http_proxy_repeatable) or reply.
 * A body that was collected before is sent. */
void http_proxy(struct http_req *req, struct http_upstream *up,
		const struct http_proxy_opts *opts);

/* In on_head: the value of a header of the answer, or {NULL, 0}. */
struct str http_proxy_header(const struct http_req *req, const char *name);

/* Whether the body can be sent once more: none was needed, or all of what the
 * client has sent so far was kept. */
bool http_proxy_repeatable(const struct http_req *req);

/* Gives up on the running proxy of req: upstream connection closed, on_end is
 * called with CANCELED or CUT before this returns. */
void http_proxy_cancel(struct http_req *req);

/* A GET for health probes: connects, asks, reports the status, closes.
 * status 0: no answer within timeout_ms. Never calls back before it returns. */
void http_probe(struct http_upstream *up, const char *path, uint32_t timeout_ms,
		void (*on_done)(void *data, unsigned status), void *data);

/* A request of our own. */
struct http_question {
	const char *method, *path;
	const char *headers; /* lines, each ended by CRLF; NULL: none but those
				that HTTP needs */
	struct str body;     /* p NULL: it has none */
	size_t keep;	     /* bytes of the answer's body to have */
	bool digest;	     /* of all of it is wanted */
	uint32_t timeout_ms; /* until its end; 0: for ever */
};

/* The answer, valid inside the call. */
struct http_told {
	unsigned status;    /* 0: no whole answer came ... */
	const char *why;    /* ... for this reason ... */
	bool late;	    /* ... which is that its time was over */
	struct str body;    /* its first bytes */
	uint64_t size;	    /* of all of it */
	const char *digest; /* its SHA-256 in hex, or "" */
	uint64_t took_ns;
};

/* Asks that, on a connection of its own; the answer is read to its end. All is
 * copied. Never calls back before it returns. */
void http_ask(struct http_upstream *up, const struct http_question *q,
	      void (*on_told)(void *data, const struct http_told *told),
	      void *data);

#endif
