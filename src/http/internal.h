/* internal.h: what the files of this folder share; nobody else includes it.
 *
 *   client ── conn ── request ── proxy ── link ── upstream
 *
 * A conn is a client's connection: small, because most are idle. It has a
 * request only from the first byte of one to the end of its answer. A request
 * has a proxy inside; while that runs it has a link, a connection to the
 * upstream.
 *
 * Who calls whom: libuv callbacks are the top. They feed bytes, then call
 * lane__run, which steps every conn that was marked ripe. Handlers may call any
 * public function at any depth: those only write and mark, so requests end and
 * parsers run at the top alone, never under a handler's feet. */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include <assert.h>

#include "core/mem.h"
#include "http/message.h"
#include "http/proxy.h"
#include "http/server.h"

enum {
	SWEEP_MS = 100,
	LINGER_MS = 2000,	 /* a refused client may read its answer */
	PARKED_MAX = 1024,	 /* of a server */
	PARK_MS = 10000,	 /* a request goes on without a client */
	DRAIN_MAX = 64 * 1024,	 /* of a body nobody wants, to keep alive */
	READ_AHEAD = 16 * 1024,	 /* of a body nobody has asked for yet */
	SMALL_BODY = 1024,	 /* copied behind a head, to be one piece */
	REQUEST_ROOM = 8 * 1024, /* the arena's first part: a usual request
				    and its answer fit */
	BACKLOG_TRIES = 50,	 /* sweeps to wait for a full backlog */
	CLOSES_MIN = 64,   /* in one turn, of clients that left; or of them */
	CLOSES_SHARE = 16, /* one in so many, if that is more */
	TRIM_CROWD = 1024, /* of fewer, malloc may keep the memory */
	MAX_FREE_CONNS = 1024,
	MAX_FREE_REQS = 64,
	MAX_FREE_LINKS = 64,
	GATHER_MAX = 60,
	REPLY_DROPS = 2, /* http_reply_drop's */
};

union http_handle {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

/* Writes at once what the peer takes, copies and queues the rest. */
struct out {
	uv_stream_t *stream; /* borrowed: lives until our last callback */
	int fd;		     /* borrowed: the stream's */
	size_t pending;	     /* bytes queued */
	/* Nothing pending any more, or the connection is broken (status). */
	void (*on_flushed)(struct out *o, int status);
};

/* The stream is open. */
void out__init(struct out *o, uv_stream_t *stream,
	       void (*on_flushed)(struct out *o, int status));
/* 0, or an error with nothing of these bytes taken. */
int out__write(struct out *o, uv_buf_t *iov, unsigned n);

enum { CHUNK_SIZE_ROOM = 2 * sizeof(size_t) + 2 };
/* The line before a chunk of n bytes, in `room`. */
uv_buf_t out__chunk_size(char room[static CHUNK_SIZE_ROOM], size_t n);

/* Pieces of a body from one read, in place, to be written together. */
struct gather {
	uv_buf_t iov[GATHER_MAX];
	unsigned n;
	size_t bytes;
};

/*
 * Client connection:
 *
 *   IDLE ──▶ HEAD ──▶ BODY ──▶ WAIT ──▶ IDLE        the common round
 *              │       │ ╰─────▶ DRAIN ─▶ WAIT ─▶ IDLE  answered, body not over
 *              │       │         WAIT ──▶ TUNNEL    101
 *              ╰───────┴──▶ WAIT ──▶ LINGER         refused, answer sent
 *   any ──▶ CLOSING
 */
enum conn_state {
	CONN_IDLE,
	CONN_HEAD,
	CONN_BODY,
	CONN_WAIT, /* for the answer; the request is all in */
	CONN_DRAIN,
	CONN_TUNNEL,
	CONN_LINGER, /* our side is shut; what comes is dropped */
	CONN_CLOSING,
};

struct request;

struct conn {
	union http_handle h;
	struct http_server *server; /* borrowed */
	struct lane *lane;	    /* borrowed */
	struct list link;	    /* in server->conns or ->idle */
	struct list ripe;	    /* in lane->ripe */
	struct request *req;	    /* owned; NULL when idle */
	struct out out;
	struct buf hold;    /* bytes that came before they were wanted */
	size_t hold_at;	    /* of these, used */
	uint64_t stamp_ms;  /* since when the present wait lasts */
	uint64_t write_ms;  /* since when the peer has taken nothing */
	size_t queued_then; /* bytes queued at write_ms */
	uint8_t state;	    /* enum conn_state */
	bool unix_socket, loopback;
	bool reading;
	bool eof;	      /* the client's side has ended */
	bool lost;	      /* the client is gone: close, tell the request */
	bool cut;	      /* we give up on it: the same */
	bool reset;	      /* so that the client sees an unfinished answer */
	bool refused;	      /* bad framing: nothing behind is served */
	bool parked;	      /* no socket, and no client (park.c) */
	bool inner;	      /* http_server_adopt's */
	uint8_t peer_n, ip_n; /* of peer: "ip:port", and the ip alone */
	char peer[56];
};

enum body_mode {
	BODY_NONE, /* nobody has asked for it */
	BODY_COLLECT,
	BODY_STREAM,
	BODY_PROXY,
	BODY_DROP,
};

/*
 * Proxy of a request:
 *
 *   NONE ──▶ CONNECT ──▶ SEND ──▶ ANSWER ──▶ over (DONE, GONE, CUT)
 *     ▲         │          │  ╰──▶ TUNNEL ─▶ over
 *     ╰─────────┴──────────╯ NO_CONNECT, DIED, BAD_RESPONSE, CANCELED
 *
 * LEFT: over, by the client's fault; on_end(GONE) is still to come.
 */
enum proxy_state {
	PROXY_IS_NONE,
	PROXY_IS_CONNECT,
	PROXY_IS_SEND,
	PROXY_IS_ANSWER,
	PROXY_IS_TUNNEL,
	PROXY_IS_LEFT,
};

struct link;

struct proxy {
	uint8_t state; /* enum proxy_state */
	bool head_sent;
	bool all_sent;	/* the upstream has the whole request */
	bool broken;	/* it takes no more of it; its answer may still come */
	bool keep_lost; /* part of the body was passed on and not kept */
	bool chunked_out;  /* the answer to the client is chunked */
	bool answer_whole; /* all of the answer was written or queued */
	bool fresh;	   /* no pooled connection this time */
	bool reopen;	   /* at the next step */
	bool kept_owned;
	bool shut_up, shut_down;  /* tunnel: this way has ended */
	struct http_upstream *up; /* borrowed */
	struct link *link;	  /* NULL once given back */
	struct list waiting;	  /* in lane->waiting */
	uint32_t tries;
	char *head; /* in the arena, with SMALL_BODY of room behind */
	size_t head_n;
	char *kept; /* the body so far; on the heap if kept_owned */
	size_t kept_n, kept_cap, keep_max;
	size_t replay;	       /* bytes of kept this link has not had yet */
	struct gather *pieces; /* of the feed that is running */
	struct str not_begun;
	void (*on_head)(struct http_req *req, unsigned status, bool stream,
			void *data);
	void (*on_held)(struct http_req *req, void *data);
	void (*on_end)(struct http_req *req, enum http_proxy_end end,
		       void *data);
	void *data;
};

struct reply_line {
	struct reply_line *next;
	struct str text; /* "Name: value\r\n" */
};

/* One request and its answer. From the lane's free list. */
struct request {
	struct http_req pub; /* first */
	struct conn *conn;   /* borrowed */
	struct list link;    /* in lane->free_reqs */
	struct arena mem;
	struct message in;
	uint8_t mode;  /* enum body_mode */
	bool handed;   /* the handler has seen it */
	bool over;     /* and was told of its end */
	bool paused;   /* http_req_pause */
	bool expects;  /* 100-continue, and nothing was said yet */
	bool told_end; /* on_body or on_end was called */
	bool keep_alive;
	bool streaming;	  /* http_reply_start was called */
	bool chunked;	  /* the streamed reply is */
	bool silent;	  /* the reply has no body: HEAD, 204, 304 */
	bool until_close; /* the answer ends with the connection */
	bool want_drain;  /* http_reply_chunk returned false */
	bool early;	  /* http_reply_early was called */
	bool one_event;	  /* what follows that are no events */
	bool answered;	  /* all of the answer was written or queued */
	bool faulted;	  /* the client broke its own request */
	struct buf body;  /* BODY_COLLECT */
	/* http_req_tap's: borrowed, or NULL. */
	struct buf *tap_in, *tap_out;
	void (*on_body)(struct http_req *, const char *, size_t);
	void (*on_chunk)(struct http_req *, const char *, size_t);
	void (*on_end)(struct http_req *);
	void (*on_drain)(struct http_req *);
	struct reply_line *extra, **extra_end;
	/* Names of headers that an upstream may not set. */
	struct str drops[REPLY_DROPS];
	unsigned n_drops;
	struct proxy proxy;
	char room[REQUEST_ROOM] __attribute__((aligned(16)));
};

static inline struct request *request__of(const struct http_req *req)
{
	return CONTAINER_OF(req, struct request, pub);
}

/* Text written into memory that was measured before. */
struct text {
	char *p, *end;
	char *begin;
};

/* Here, so that lengths of literals are known where they are added: a proxied
 * request adds some sixty pieces. */
static inline void text__add(struct text *t, const void *p, size_t n)
{
	assert(n <= (size_t)(t->end - t->p));
	if (n)
		memcpy(t->p, p, n);
	t->p += n;
}

static inline void text__adds(struct text *t, const char *s)
{
	text__add(t, s, strlen(s));
}

static inline void text__add_header(struct text *t, struct str name,
				    struct str value)
{
	text__add(t, name.p, name.n);
	text__add(t, ": ", 2);
	text__add(t, value.p, value.n);
	text__add(t, "\r\n", 2);
}

/* A header of a head that head__split has taken apart: there the colon is
 * right behind the name and CRLF ends the line, so that one which came as it
 * would be written is one piece. */
static inline void text__add_line(struct text *t, const struct http_header *h)
{
	struct str name = h->name, value = h->value;

	if (value.p == name.p + name.n + 2 && value.p[-1] == ' ' &&
	    value.p[value.n] == '\r')
		text__add(t, name.p, name.n + value.n + 4);
	else
		text__add_header(t, name, value);
}

/* A connection to an upstream. */
struct link {
	union http_handle h;
	uv_connect_t connect;
	struct list node; /* in up->idle, up->busy or lane->free_links */
	struct http_upstream *up; /* borrowed */
	struct request *req;	  /* borrowed; NULL when idle */
	struct out out;
	struct message in;
	struct gather *pieces; /* of the feed that is running */
	struct text *head;     /* the same: not written yet */
	struct buf held; /* of an answer for which nobody is there (park.c) */
	uint64_t idle_since;
	unsigned interim; /* 1xx answers so far */
	bool connecting, reading, reused, eof, closing;
};

/* lane.c */
void lane__watch(struct lane *lane); /* something with a timeout began */
void lane__run(struct lane *lane);   /* at the end of each libuv callback */
void lane__alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret_buf);
const char *lane__date(struct lane *lane);
struct str lane__new_id(struct lane *lane, struct arena *mem);
struct conn *lane__get_conn(struct lane *lane);
struct request *lane__get_req(struct lane *lane);
struct link *lane__get_link(struct lane *lane);
void lane__put_conn(struct lane *lane, struct conn *c);
/* Closes the socket of a conn that is CLOSING, and in no list, soon. The kernel
 * takes longer for that than we for all of a request that waits: when thousands
 * leave at once, those who are still there need not wait for it. */
void lane__close_later(struct lane *lane, struct conn *c);
void lane__put_req(struct lane *lane, struct request *r);
void lane__put_link(struct lane *lane, struct link *l);

/* conn.c */
void conn__open(struct conn *c);
void conn__ripe(struct conn *c);
void conn__step(struct conn *c);
void conn__sweep(struct conn *c, uint64_t now_ms);
/* Bad framing before the request was handed out. */
void conn__refuse(struct conn *c, unsigned status);
/* Whether bytes that come now would be used now. */
bool conn__consumes(const struct conn *c);
/* The client broke its own request while it was handled: 4xx or cut. */
void conn__fault(struct conn *c, unsigned status);
void conn__close(struct conn *c);
/* The rest of it, for lane__close_later. */
void conn__close_socket(struct conn *c);
void conn__to_tunnel(struct conn *c);
/* Whether part of the body has come and waits to be fed. */
bool conn__has_held(const struct conn *c);
/* Ends our side of an idle connection that was refused. */
void conn__shut(struct conn *c);

/* request.c */
struct request *request__begin(struct conn *c);
void request__end(struct request *r);
/* Fills pub from the head. 0, or the status of a refusal. */
unsigned request__ready(struct request *r);
bool request__wants_body(const struct request *r);
size_t request__feed(struct request *r, const char *p, size_t n);
/* Calls what became due: the end of the body. */
void request__step(struct request *r);
void request__ask_body(struct request *r); /* 100 Continue */

/* Ends an event, and the stream. */
#define REPLY_END_EVENT "2\r\n\n\n\r\n0\r\n\r\n"

/* reply.c */
void text__addu(struct text *t, uint64_t v);
const char *reply__reason(unsigned status);
void reply__write(struct request *r, uv_buf_t *iov, unsigned n);
void reply__refuse(struct request *r, unsigned status);
/* Connection, X-Request-Id, Date and the handler's own; then the empty line. */
void reply__finish_head(struct request *r, struct text *t, bool has_date);
size_t reply__head_room(const struct request *r);
/* early: what follows is no stream of events, but of this status. */
void reply__begin_event(struct request *r, unsigned status);
/* Bytes of it, changed in place: it is one line. */
void reply__in_event(char *p, size_t n);

/* server.c */
void server__conn_closed(struct http_server *s);
/* Its connections end with the answers that they get now. */
bool server__ends(const struct http_server *s);

/* upstream.c */
/* A link for r: 0 with (*ret_link)->connecting or not, or an error. */
int upstream__get(struct http_upstream *up, struct request *r, bool fresh,
		  struct link **ret_link);
void upstream__put(struct link *l, bool reusable);
void upstream__read(struct link *l, bool on);
void upstream__sweep(struct http_upstream *up, uint64_t now_ms);
void upstream__handle_closed(struct http_upstream *up);
int upstream__socket(struct http_upstream *up, union http_handle *h,
		     uv_connect_t *request, uv_connect_cb cb,
		     bool *ret_connecting);

/* proxy.c */
void proxy__open(struct request *r);
void proxy__connected(struct request *r, int status);
bool proxy__wants_body(const struct request *r);
void proxy__piece(struct request *r, const char *p, size_t n);
void proxy__send(struct request *r);
void proxy__step(struct request *r);
void proxy__over(struct request *r, bool gone);
void proxy__leave(struct request *r); /* becomes LEFT, if it runs */
void proxy__fail(struct request *r, enum http_proxy_end end);
void proxy__client_flushed(struct request *r);
void proxy__forget_body(struct request *r);
void proxy__fail_waiting(struct lane *lane, struct http_upstream *up);

/* answer.c */
bool answer__piece(struct message *m, const char *p, size_t n);
void answer__feed(struct link *l, const char *p, size_t n);
void answer__eof(struct link *l, int status);

/* park.c */
/* c's client has left: whether its request goes on all the same it decides;
 * then c has none any more. */
void park__take(struct conn *c);
void park__hold(struct link *l, const char *p, size_t n);
/* Somebody is there: what was held is fed. Whether there was anything. */
bool park__resume(struct request *r);
void park__end_all(struct http_server *s);

/* tunnel.c */
void tunnel__begin(struct request *r);
bool tunnel__wants(const struct request *r);
size_t tunnel__from_client(struct request *r, const char *p, size_t n);
void tunnel__from_upstream(struct request *r, const char *p, size_t n);
void tunnel__step(struct request *r);

/* probe.c */
void probe__sweep(struct http_upstream *up, uint64_t now_ms);
void probe__close_all(struct http_upstream *up);

#endif
