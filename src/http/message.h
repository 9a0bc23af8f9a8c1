/* message.h: one HTTP message as it comes in, request or response: its head
 * found, judged and indexed, then its body. */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include <llhttp.h>

#include "core/arena.h"
#include "core/buf.h"
#include "http/server.h"

/* What a head may be at most. */
struct head_max {
	uint32_t first; /* bytes of the first line */
	uint32_t total; /* bytes of all of it */
	uint32_t count; /* header lines */
};

/* Where the search for the end of a head has got to. Zeroed to start. */
struct head_scan {
	size_t at;    /* bytes looked at */
	size_t line;  /* where the present line begins */
	size_t begin; /* where the first line begins: empty lines are skipped */
	size_t headers;	 /* where the second line begins */
	uint32_t lines;	 /* complete lines */
	uint32_t blanks; /* empty lines skipped */
};

/* Why a header is not copied from one side to the other. */
enum {
	HEADER_HOP = 1,	 /* belongs to one connection only */
	HEADER_OURS = 2, /* written anew by whoever passes the message on */
	HEADER_FORWARDED = 4, /* request: X-Forwarded-*, the same, with more */
};

/* The head, judged. Text lies where the head lies. */
struct head {
	struct http_header *headers;
	uint8_t *drop; /* for each header: HEADER_* bits, or 0 */
	uint32_t n;
	struct str first;	/* request: target; response: reason */
	int64_t content_length; /* -1: none */
	uint16_t status;
	uint8_t method;
	uint8_t minor;
	bool chunked;
	bool until_eof; /* response: its body ends with the connection */
	bool no_body;	/* nothing follows, whatever the headers say */
	bool says_close, says_keep_alive, says_upgrade;
	bool expects_100, expects_other;
	bool forwarded;	    /* some header is HEADER_FORWARDED */
	int16_t host;	    /* index of a header, -1: none */
	int16_t upgrade;    /* the same */
	int16_t request_id; /* the same */
	int16_t date;	    /* the same */
	unsigned n_host, n_length, n_coding; /* private: while judging */
};

enum message_kind { MESSAGE_REQUEST, MESSAGE_RESPONSE };

struct message {
	enum message_kind kind;
	struct head head;
	struct head_scan scan;
	struct buf partial; /* owned: a head that came in pieces */
	bool head_done;
	bool complete;	 /* the last byte of the body was seen */
	bool to_head;	 /* response: it answers a HEAD request */
	unsigned refuse; /* status that says why it was refused, or 0 */
	uint32_t extra;	 /* bytes of trailers and chunk extensions */
	uint32_t extra_max;
	bool stalled;	     /* on_body has returned false */
	uint64_t left;	     /* to come, by Content-Length */
	uint64_t body_bytes; /* so far */
	llhttp_t parser;     /* of a chunked body */
	/* A piece of the body, valid inside the call. Returns whether to go on
	 * at once; if not, message_body returns after this piece. */
	bool (*on_body)(struct message *m, const char *p, size_t n);
};

void message_init(struct message *m, enum message_kind kind);
void message_fini(struct message *m);

enum { MESSAGE_MORE = 0, MESSAGE_HEAD = 1, MESSAGE_REFUSED = -1 };

/* Feeds bytes of the head. ret_used is set on MESSAGE_HEAD: what lies behind is
 * body, or the next message. `mem` takes the index, and for a request the
 * text; a response's text is only valid until the caller returns to the
 * loop. */
int message_head(struct message *m, struct arena *mem,
		 const struct head_max *max, const char *p, size_t n,
		 size_t *ret_used);

/* Feeds bytes of the body. Returns how many were used: less than n when the
 * message is complete, was refused (m->refuse), or on_body returned false. */
size_t message_body(struct message *m, const char *p, size_t n);

/* on_body returned false: more may be due even without more bytes. */
static inline bool message_stalled(const struct message *m)
{
	return !m->complete && m->stalled;
}

/* The stream has ended. Whether the message is complete with that. */
bool message_eof(struct message *m);

/* Siblings, in head.c. Both return 0 or the status of a refusal. */
int head__scan(struct head_scan *s, const struct head_max *max, const char *p,
	       size_t n, bool *ret_found);
int head__split(struct head *h, const char *p, size_t n, bool response);
int head__judge(struct head *h, bool response);
bool head__is_host_char(unsigned char c);

#endif
