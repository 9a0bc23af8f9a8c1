#include "fetch/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/mem.h"
#include "fetch/url.h"

enum {
	CONNECT_MS = 15000,
	WAIT_FIRST_MS = 250,
	WAIT_MOST_MS = 30000,
	BUFFER_BYTES = 512 << 10,
	THROWN_MAX = 64 << 10, /* of a redirect's body */
};

int client_init(struct client *c, struct failure *why)
{
	static const char *const names[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE",
					    "AWS_CA_BUNDLE"};

	*c = (struct client){.slow_s = CLIENT_SLOW_S};
	for (size_t i = 0; !c->ca_file && i < ARRAY_LEN(names); i++) {
		const char *file = getenv(names[i]);

		if (file && *file)
			c->ca_file = file;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return failure_set(why, FAIL_BROKEN, false,
				   "libcurl cannot be used on this machine");
	c->easy = curl_easy_init();
	c->share = curl_share_init();
	if (!c->easy || !c->share)
		abort();
	curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_share_setopt(c->share, CURLSHOPT_SHARE,
			  CURL_LOCK_DATA_SSL_SESSION);
	return 0;
}

void client_fini(struct client *c)
{
	curl_easy_cleanup(c->easy);
	curl_share_cleanup(c->share);
	c->easy = NULL;
	c->share = NULL;
}

/* ---- heads ---- */

void heads_init(struct heads *h)
{
	*h = (struct heads){.total = SIZE_UNKNOWN, .length = SIZE_UNKNOWN};
}

void heads_fini(struct heads *h)
{
	free(h->etag);
	free(h->modified);
	free(h->checksum);
	free(h->region);
	heads_init(h);
}

/* What is no text is as if it was not there: it is to be noted in JSON. */
static void keep(char **to, struct str value)
{
	if (!str_is_utf8(value))
		return;
	free(*to);
	*to = mem_strndup(value.p, value.n);
}

/* "bytes 0-0/1234", or "bytes *" "/1234" of a range that is not there. */
static void read_range(struct heads *h, struct str v)
{
	const char *slash = memchr(v.p, '/', v.n), *dash;
	struct str first;

	if (!str_starts(v, STR("bytes ")) || !slash)
		return;
	if (!str_u64((struct str){slash + 1, (size_t)(v.p + v.n - slash - 1)},
		     &h->total))
		h->total = SIZE_UNKNOWN;
	dash = memchr(v.p, '-', v.n);
	if (!dash)
		return;
	first = (struct str){v.p + 6, (size_t)(dash - v.p) - 6};
	h->partial = str_u64(first, &h->from);
}

static void read_header(struct heads *h, struct str name, struct str v)
{
	uint64_t n;

	if (str_ieq(name, STR("etag")))
		keep(&h->etag, v);
	else if (str_ieq(name, STR("last-modified")))
		keep(&h->modified, v);
	else if (str_ieq(name, STR("x-amz-checksum-sha256")))
		keep(&h->checksum, v);
	else if (str_ieq(name, STR("x-amz-bucket-region")))
		keep(&h->region, v);
	else if (str_ieq(name, STR("content-range")))
		read_range(h, v);
	else if (str_ieq(name, STR("content-length")) && str_u64(v, &n))
		h->length = n;
	else if (str_ieq(name, STR("retry-after")) && str_u64(v, &n))
		h->retry_after_s = (int64_t)MIN(n, 3600u);
}

static size_t on_header(char *data, size_t one, size_t len, void *to)
{
	struct heads *h = to;
	struct str line = {data, len}, name, value;
	const char *colon;

	(void)one;
	while (line.n &&
	       (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == '\n'))
		line.n--;
	if (str_starts(line, STR("HTTP/"))) {
		const char *space = memchr(line.p, ' ', line.n);

		heads_fini(h); /* an interim answer came before this one */
		h->status = space ? strtol(space + 1, NULL, 10) : 0;
		return len;
	}
	colon = memchr(line.p, ':', line.n);
	if (colon) {
		name = (struct str){line.p, (size_t)(colon - line.p)};
		value = (struct str){colon + 1, line.n - name.n - 1};
		read_header(h, name, str_trim(value));
	}
	return len;
}

/* ---- what all requests share ---- */

struct curl_slist *client_prepare(struct client *c, CURL *easy,
				  const struct source *s, const char *method,
				  const char *url, struct curl_slist *headers,
				  struct heads *h)
{
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_SHARE, c->share);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "soma/" SOMA_VERSION);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	/* Ranges at once are to be connections of their own. */
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT,
			 (long)CLIENT_SLOW_BYTES);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, c->slow_s);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(easy, CURLOPT_NOBODY,
			 strcmp(method, "HEAD") == 0 ? 1L : 0L);
	if (strcmp(method, "HEAD") != 0)
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	if (c->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca_file);
	if (s->sign && s->trusts(s, url))
		headers = s->sign(s, method, url, headers);
	/* Bytes are wanted as they are kept, for their ranges and sums. */
	headers = curl_slist_append(headers, "Accept-Encoding: identity");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	return headers;
}

char *client_redirect(CURL *easy, const char *from, unsigned *count,
		      struct failure *why)
{
	cleanup_free char *shown = url_shown(from);
	char *to = NULL;

	curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &to);
	if (!to || (strncasecmp(to, "https://", 8) != 0 &&
		    strncasecmp(to, "http://", 7) != 0)) {
		failure_set(why, FAIL_BROKEN, false,
			    "%s leads on to no address that can be fetched: "
			    "look at the URL in a browser",
			    shown);
		return NULL;
	}
	if (strncasecmp(from, "https:", 6) == 0 &&
	    strncasecmp(to, "https:", 6) != 0) {
		failure_set(why, FAIL_BROKEN, false,
			    "%s leads on from https to http, where anybody on "
			    "the way could change what comes: give the address "
			    "that it leads to, if that is wanted",
			    shown);
		return NULL;
	}
	if (++*count > CLIENT_REDIRECTS) {
		failure_set(why, FAIL_BROKEN, false,
			    "%s leads on from one address to the next, more "
			    "than %d times: give the address where the file is",
			    shown, CLIENT_REDIRECTS);
		return NULL;
	}
	return mem_strdup(to);
}

bool client_is_passing(long status)
{
	return status == 408 || status == 425 || status == 429 ||
	       (status >= 500 && status != 501 && status != 505);
}

int64_t client_wait_ms(unsigned n, int64_t retry_after_s)
{
	int64_t ms = WAIT_FIRST_MS;

	while (--n > 0 && ms < WAIT_MOST_MS)
		ms *= 2;
	ms = MAX(ms, retry_after_s * 1000);
	ms = MIN(ms, WAIT_MOST_MS);
	/* Not all at once with others that were turned away together. */
	return ms + random() % (ms / 4 + 1);
}

/* In the words of the system where it has some; curl's own otherwise. */
static const char *reason(CURL *easy, CURLcode rc, const char *detail)
{
	long sys = 0;

	switch (rc) {
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &sys);
		return sys != 0 ? strerror((int)sys) : "cannot connect";
	case CURLE_COULDNT_RESOLVE_HOST:
		return "unknown host";
	case CURLE_OPERATION_TIMEDOUT:
		return "it is too slow, or does not answer";
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return "it closed the connection";
	default:
		return *detail ? detail : curl_easy_strerror(rc);
	}
}

int client_unreachable(const char *url, CURL *easy, CURLcode rc,
		       const char *detail, struct failure *why)
{
	cleanup_free char *shown = url_shown(url);
	bool tls = rc == CURLE_PEER_FAILED_VERIFICATION ||
		   rc == CURLE_SSL_CACERT_BADFILE;

	if (tls)
		return failure_set(
			why, FAIL_UNREACHABLE, false,
			"%s does not prove who it is (%s): if its "
			"certificate is of an authority of your own, "
			"name the file of that in SSL_CERT_FILE",
			shown, reason(easy, rc, detail));
	return failure_set(why, FAIL_UNREACHABLE, true,
			   "%s cannot be reached (%s): check the address, the "
			   "network, and http_proxy and its like",
			   shown, reason(easy, rc, detail));
}

int client_refused(const struct source *s, const char *url, long status,
		   struct failure *why)
{
	cleanup_free char *host = url_host(url);
	const char *who = host ? host : "the source";

	if (status == 401 || status == 403)
		return failure_set(why, FAIL_FORBIDDEN, false,
				   "%s may not be read (%s answers %ld): %s",
				   s->shown, who, status, s->forbidden);
	if (status == 404 || status == 410)
		return failure_set(why, FAIL_NOT_FOUND, false,
				   "%s is not there (%s answers %ld): %s",
				   s->shown, who, status, s->missing);
	if (client_is_passing(status))
		return failure_set(why, FAIL_UNREACHABLE, true,
				   "%s cannot be read now: %s answers %ld each "
				   "time; try again later",
				   s->shown, who, status);
	return failure_set(why, FAIL_BROKEN, false,
			   "%s cannot be read: %s answers %ld, which is no "
			   "answer to a request for a file; is the address "
			   "right?",
			   s->shown, who, status);
}

/* ---- small requests ---- */

static bool is_redirect(long status)
{
	return status == 301 || status == 302 || status == 303 ||
	       status == 307 || status == 308;
}

struct taking {
	struct answer *an;
	const struct request *q;
	size_t thrown; /* bytes that had no room */
	bool full;
};

static size_t on_body(char *data, size_t one, size_t len, void *to)
{
	struct taking *t = to;

	(void)one;
	if (buf_add(&t->an->body, data, len) == 0)
		return len;
	/* libcurl tells where a redirect leads at the end of the answer: the
	 * page that comes with it is let through, and thrown away. */
	t->thrown += len;
	if (is_redirect(t->an->heads.status) && t->thrown <= THROWN_MAX)
		return len;
	t->full = true;
	return 0;
}

static CURLcode once(struct client *c, const struct source *s,
		     const struct request *q, struct answer *an,
		     char detail[CURL_ERROR_SIZE])
{
	struct taking t = {.an = an, .q = q};
	struct curl_slist *headers = NULL;
	CURLcode rc;

	heads_fini(&an->heads);
	buf_reset(&an->body);
	an->body.full = false;
	curl_easy_reset(c->easy);
	for (size_t i = 0; i < ARRAY_LEN(q->headers) && q->headers[i]; i++)
		headers = curl_slist_append(headers, q->headers[i]);
	headers = client_prepare(c, c->easy, s, q->method, an->url, headers,
				 &an->heads);
	detail[0] = '\0';
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, &t);
	rc = curl_easy_perform(c->easy);
	curl_slist_free_all(headers);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
	if (t.full && q->cut)
		return CURLE_OK;
	return rc;
}

static void wait_ms(int64_t ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

static bool is_hopeless(CURLcode rc)
{
	return rc == CURLE_PEER_FAILED_VERIFICATION ||
	       rc == CURLE_SSL_CACERT_BADFILE || rc == CURLE_URL_MALFORMAT ||
	       rc == CURLE_UNSUPPORTED_PROTOCOL || rc == CURLE_WRITE_ERROR;
}

/* An answer that is no redirect, or leads nowhere that S3 would tell. */
static int follow(struct client *c, struct answer *an, unsigned *redirects,
		  bool *ret_again, struct failure *why)
{
	char *to = NULL;

	*ret_again = false;
	if (!is_redirect(an->heads.status) || an->heads.region)
		return 0;
	to = client_redirect(c->easy, an->url, redirects, why);
	if (!to)
		return -1;
	free(an->url);
	an->url = to;
	*ret_again = true;
	return 0;
}

int client_ask(struct client *c, const struct source *s,
	       const struct request *q, struct answer *ret, struct failure *why)
{
	struct answer an = {.url = mem_strdup(q->url)};
	char detail[CURL_ERROR_SIZE];
	unsigned redirects = 0, tries = 0;
	bool again = true;
	CURLcode rc = CURLE_OK;
	int failed = 0;

	heads_init(&an.heads);
	buf_init(&an.body, q->max);
	while (failed == 0 && again) {
		rc = once(c, s, q, &an, detail);
		if (rc == CURLE_OK && !client_is_passing(an.heads.status)) {
			failed = follow(c, &an, &redirects, &again, why);
			continue;
		}
		again = ++tries < CLIENT_TRIES && !is_hopeless(rc);
		if (again)
			wait_ms(client_wait_ms(tries, an.heads.retry_after_s));
	}
	if (failed == 0 && rc == CURLE_WRITE_ERROR)
		failed = failure_set(why, FAIL_BROKEN, false,
				     "%s answers with more than can be "
				     "meant: is the address right?",
				     s->shown);
	else if (failed == 0 && rc != CURLE_OK)
		failed = client_unreachable(an.url, c->easy, rc, detail, why);
	if (failed != 0) {
		answer_end(&an);
		return failed;
	}
	*ret = an;
	return 0;
}

void answer_end(struct answer *an)
{
	heads_fini(&an->heads);
	buf_fini(&an->body);
	free(mem_take(&an->url));
}
