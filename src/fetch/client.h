/* client.h: requests over HTTP: small ones here, and what the transfer of large
 * files shares with them. */
#ifndef FETCH_CLIENT_H
#define FETCH_CLIENT_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "fetch/failure.h"
#include "fetch/source.h"

enum {
	CLIENT_REDIRECTS = 5,
	CLIENT_TRIES = 6, /* without any progress between them */
	CLIENT_SLOW_S =
		30, /* below CLIENT_SLOW_BYTES/s for so long: given up */
	CLIENT_SLOW_BYTES = 1024,
};

struct client {
	CURL *easy;	     /* owned: for small requests, one after another */
	CURLSH *share;	     /* owned: names found, TLS sessions */
	const char *ca_file; /* borrowed; NULL: the system's */
	long slow_s;
};

int client_init(struct client *c, struct failure *why);
void client_fini(struct client *c);

/* What the head of an answer told. */
struct heads {
	long status;
	char *etag, *modified, *checksum, *region; /* owned; or NULL */
	bool partial;				   /* it has a Content-Range */
	uint64_t from;				   /* of it */
	uint64_t total;	 /* of it, else SIZE_UNKNOWN */
	uint64_t length; /* Content-Length, else SIZE_UNKNOWN */
	int64_t retry_after_s;
};

void heads_init(struct heads *h);
void heads_fini(struct heads *h);

/* A handle for method and url, signed where the source trusts the host; what
 * comes is the caller's to ask for (WRITEFUNCTION ...). The headers are the
 * caller's to free once the request is over. */
struct curl_slist *client_prepare(struct client *c, CURL *easy,
				  const struct source *s, const char *method,
				  const char *url, struct curl_slist *headers,
				  struct heads *h);

/* Where an answer with a redirect leads: a new URL (free() it), or NULL and
 * *why. `from` is where it came from, `count` how many there were. */
char *client_redirect(CURL *easy, const char *from, unsigned *count,
		      struct failure *why);
/* Is this status one that passes? */
bool client_is_passing(long status);
/* How long to wait before try number `n` (from 1), in ms. */
int64_t client_wait_ms(unsigned n, int64_t retry_after_s);
/* Nobody answers, in words. Returns -1. */
int client_unreachable(const char *url, CURL *easy, CURLcode rc,
		       const char *detail, struct failure *why);
/* A status that is an answer and not the one hoped for, in words. Returns -1.
 */
int client_refused(const struct source *s, const char *url, long status,
		   struct failure *why);

/* One request, with redirects, and with tries while trying may help. */
struct request {
	const char *method; /* "GET" or "HEAD" */
	const char *url;
	const char *headers[3]; /* NULL behind the last */
	size_t max;		/* of the body; more is cut off with `cut` */
	bool cut;		/* the rest of a body that is larger is no
				   matter */
};

struct answer {
	struct heads heads;
	struct buf body;
	char *url; /* owned: where it came from in the end */
};

/* 0 with any status that is an answer, or -1. */
int client_ask(struct client *c, const struct source *s,
	       const struct request *q, struct answer *ret,
	       struct failure *why);
void answer_end(struct answer *an);

#endif
