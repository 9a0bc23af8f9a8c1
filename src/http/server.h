/* server.h: HTTP/1.1 server side: connections, requests, replies. Knows no word
 * of the domain. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/str.h"
#include "http/lane.h"

struct http_req;
struct http_server;

/* One table of limits (http/limits.h has the defaults and the list). */
struct http_limits {
	uint32_t request_line_bytes; /* 16 KiB: longer gets 414 */
	uint32_t header_bytes;	     /* 64 KiB in all: more gets 431 */
	uint32_t header_count;	     /* 128: more gets 431 */
	uint64_t body_bytes;	     /* 0: no limit; more gets 413 */
	uint32_t header_timeout_ms;  /* first byte to end of head: 408, close */
	uint32_t idle_timeout_ms;    /* between requests: close */
	uint32_t body_timeout_ms;    /* no body byte for so long: 408, close */
	uint32_t write_timeout_ms;   /* peer takes no byte for so long: close */
	uint32_t max_connections;    /* beyond: accepted, 503, closed */
};
extern const struct http_limits http_limits_default;

struct http_header {
	struct str name, value; /* name as received; value trimmed */
};

/* A parsed request. Fields are read-only for handlers unless said otherwise.
 * Valid from on_request until on_over has returned. All text lives in `arena`.
 */
struct http_req {
	struct arena *arena;	/* freed with the request; handlers may allocate
				   from it */
	uint8_t method;		/* llhttp_method_t */
	struct str method_name; /* "GET" */
	struct str target;	/* as received, origin form: "/a/b?c=d" */
	struct str path;	/* "/a/b", not decoded */
	struct str query;	/* "c=d", no '?'; n == 0 if none */
	struct http_header *headers;
	uint32_t n_headers;
	uint8_t minor;		/* HTTP/1.minor */
	bool has_body;		/* Content-Length > 0 or chunked */
	int64_t content_length; /* -1: none given (no body, or chunked) */
	bool upgrade;  /* asks for a protocol change (Connection: Upgrade) */
	bool loopback; /* peer is on this machine */
	bool inner;    /* peer is this program: http_server_adopt */
	struct str id; /* X-Request-Id: the caller's if sane, else made here */
	struct str peer;	    /* "127.0.0.1:51234" or "unix" */
	uint64_t start_ns;	    /* uv_hrtime() when the head was complete */
	uint64_t end_ns;	    /* when it was over; 0 before */
	struct http_server *server; /* borrowed */

	/* The handler's. */
	void *user;
	struct str splitter, target_api; /* the same, for its on_log */
	void *copy;			 /* likewise: made of it */
	bool cut;			 /* likewise: its answer broke off */
	/* Its client's leaving does not end it, if its body is all here and
	 * nothing of its answer was sent: it goes on for 10 s without one, for
	 * http_req_swap. Replies to it are lost until then. */
	bool keep;
	bool quiet; /* on_log is not called: another has it in its log */
	/* Called exactly once, when the request is over: answered in full, or
	 * the client is gone (`gone`), or the connection was cut. The request's
	 * memory goes after it returns. May be NULL. */
	void (*on_over)(struct http_req *req);
	bool gone; /* set before on_over if the answer did not reach the client
		      whole */
	uint16_t status;	      /* set once a reply has begun; 0 before */
	uint64_t bytes_in, bytes_out; /* body bytes so far */
};

/* A client that closes, or only shuts its sending side, while its request is in
 * progress counts as gone: the two cannot be told apart in time, and work for
 * nobody must end at once (nginx does the same).
 *
 * The functions below never call on_over before they return. */

/* The head of a request is complete. The handler must answer sooner or later
 * with one of: http_reply*, http_proxy (proxy.h). It may do so right away or
 * keep `req` until on_over. */
typedef void http_on_request(struct http_req *req, void *data);
/* Called once for each request that is over, just before on_over: access log
 * and metrics. */
typedef void http_on_log(struct http_req *req, void *data);

struct http_server_opts {
	const struct http_limits *limits; /* NULL: http_limits_default */
	http_on_request *on_request;
	http_on_log *on_log; /* may be NULL; not called for refused framing */
	void *data;
};

struct http_server {
	struct lane *lane;
	struct http_server_opts opts;
	struct list link;  /* private: in lane->servers */
	struct list conns; /* private: with a request, swept one by one */
	struct list idle;  /* private: between requests, oldest first */
	uint32_t n_conns;
	uint32_t n_parked; /* private: of these, without a client */
	uint32_t n_inner;  /* private: of these, adopted */
	bool draining;	   /* private */
	bool leaving;	   /* private */
	void *impl;	   /* private: the listening handle */
	void (*on_closed)(struct http_server *s); /* private */
};

/* Serves on `fd`, a listening TCP or Unix stream socket. On success the fd
 * belongs to the server; on error it stays with the caller. */
int http_server_open(struct http_server *s, struct lane *lane, int fd,
		     const struct http_server_opts *opts, struct err *err);

/* Serves on `fd`, a connected Unix socket, as if it had been accepted, for a
 * client in this program: its requests are `inner`, and max_connections does
 * not count it. It belongs to the server, on errors too: then it is closed. */
int http_server_adopt(struct http_server *s, int fd);

/* Stops accepting, closes idle connections, lets requests in progress end
 * (each answered with Connection: close). on_closed fires once, when nothing
 * is left. The listening socket itself is only closed in this process. */
void http_server_drain(struct http_server *s,
		       void (*on_closed)(struct http_server *));
/* The first of the requests that handlers have for which `is` says so, or NULL.
 */
struct http_req *http_server_find(struct http_server *s,
				  bool (*is)(const struct http_req *req,
					     void *data),
				  void *data);
/* Stops accepting likewise, and keeps the connections that are there until
 * their next answer, which says Connection: close: what their clients may be
 * sending now is not lost. A drain may follow. */
void http_server_leave(struct http_server *s,
		       void (*on_closed)(struct http_server *));
/* Cuts what is left after a drain has been waited for long enough. */
void http_server_cut(struct http_server *s);

/* The value of a header (first of the name), or {NULL, 0}. Case-insensitive. */
struct str http_req_header(const struct http_req *req, const char *name);
/* The decoded value of a query parameter, in the arena; NULL when absent. */
const char *http_req_param(struct http_req *req, const char *name);

/* Collects the whole body, at most `max` bytes (beyond: 413 is sent and the
 * callback never comes). The memory is the request's. Handles 100-continue.
 * With no body, calls back at once with len 0. */
void http_req_body(struct http_req *req, size_t max,
		   void (*on_body)(struct http_req *req, const char *body,
				   size_t len));

/* Streams the body instead: on_chunk for each piece, which is valid inside the
 * callback only; on_end once after the last. http_req_pause stops reading
 * until http_req_resume. */
void http_req_stream(struct http_req *req,
		     void (*on_chunk)(struct http_req *req, const char *data,
				      size_t len),
		     void (*on_end)(struct http_req *req));
void http_req_pause(struct http_req *req);
void http_req_resume(struct http_req *req);

/* Adds a header to the reply that has not begun yet. Copied. A name or value
 * with CR, LF or NUL is a bug (assert). */
void http_reply_header(struct http_req *req, const char *name,
		       const char *value);

/* Headers of an upstream's answer whose names begin like this, case aside, are
 * not passed on. Borrowed until the request is over. Twice at most. */
void http_reply_drop(struct http_req *req, struct str names);

/* A whole reply. type may be NULL with an empty body; body is copied or sent
 * before return. HEAD is handled. What is left of the request body is read and
 * dropped within limits, or the connection closes. */
void http_reply(struct http_req *req, unsigned status, const char *type,
		const void *body, size_t len);
void http_replyf(struct http_req *req, unsigned status, const char *type,
		 const char *fmt, ...)
	__attribute__((cold, format(printf, 4, 5)));

/* A streamed reply (chunked for 1.1, until close for 1.0). chunk returns false
 * when more than LANE_READ_SIZE is waiting to be written: wait for on_drain. */
void http_reply_start(struct http_req *req, unsigned status, const char *type,
		      void (*on_drain)(struct http_req *req));
bool http_reply_chunk(struct http_req *req, const void *data, size_t len);
/* For who waits long for an event stream: its head, 200, before anything is
 * known of the answer. From then on the answer, a reply or an upstream's, is
 * what follows: events as they are, anything else in one event, of type "error"
 * from status 400 on. False: there was an answer already, or HTTP/1.0 cannot.
 */
bool http_reply_early(struct http_req *req);
/* A comment behind that: it keeps those awake through whom it goes. */
void http_reply_comment(struct http_req *req, const char *text);
void http_reply_end(struct http_req *req);
/* Ends a reply that has begun so that the client can tell it is not whole. */
void http_reply_abort(struct http_req *req);

/* Whether somebody else may have its answer: `keep` is set, it is all here, and
 * nothing was sent. */
bool http_req_may_swap(const struct http_req *req);
/* The client of `req` gets the answer of `running` instead, and that one's
 * client, if it is still there, what is replied to `req`, which is all here and
 * unanswered, too, and at no upstream. Both are of servers with the same
 * handler. false: that client had left, and `req` is over soon. Start times
 * stay. */
bool http_req_swap(struct http_req *running, struct http_req *req);

/* What comes of its body from now on is added to `body`, too, and what goes to
 * its client, head and all, to `answer`, as far as these have room. NULL: no
 * more. Borrowed until the request is over. */
void http_req_tap(struct http_req *req, struct buf *body, struct buf *answer);
/* Whether its body is all here. */
bool http_req_is_whole(const struct http_req *req);

/* {"error":{"code":WORD,"message":TEXT,"request_id":ID}} with err_http(code).
 */
void http_reply_error(struct http_req *req, int code, const char *fmt, ...)
	__attribute__((cold, format(printf, 3, 4)));
/* The same with a status of its own (0: err_http(code)), and the members "api"
 * and "cause" where they are not NULL. */
void http_reply_error_full(struct http_req *req, int code, unsigned status,
			   const char *api, const char *cause, const char *fmt,
			   ...) __attribute__((cold, format(printf, 6, 7)));
/* The same with members of the document behind "error", as JSON. */
void http_reply_error_with(struct http_req *req, int code, const char *api,
			   const char *more, const char *fmt, ...)
	__attribute__((cold, format(printf, 5, 6)));

#endif
