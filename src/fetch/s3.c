/* s3.c: a bucket's object, or all below a prefix, at Amazon's or at any other
 * endpoint that speaks S3. */
#include "fetch/s3.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/mem.h"
#include "fetch/url.h"
#include "fetch/xml.h"

enum { BODY_BYTES_MAX = 64 << 20 };

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* ---- addresses ---- */

const char *s3__url(const struct s3 *own, struct arena *arena, const char *key,
		    const char *query)
{
	cleanup_free char *escaped = url_escape(str_of(key), true);
	const char *tail = strncmp(own->region, "cn-", 3) == 0 ? ".cn" : "";
	const char *mark = *query ? "?" : "";

	if (own->endpoint)
		return arena_printf(arena, "%s/%s%s%s%s%s", own->endpoint,
				    own->bucket, *key ? "/" : "", escaped, mark,
				    query);
	/* The certificate is for one name before the dot. */
	if (strchr(own->bucket, '.'))
		return arena_printf(arena,
				    "https://s3.%s.amazonaws.com%s/%s%s%s%s%s",
				    own->region, tail, own->bucket,
				    *key ? "/" : "", escaped, mark, query);
	return arena_printf(arena, "https://%s.s3.%s.amazonaws.com%s/%s%s%s",
			    own->bucket, own->region, tail, escaped, mark,
			    query);
}

static bool trusts(const struct source *s, const char *url)
{
	struct arena arena;
	bool same;

	arena_init(&arena);
	same = url_same_host(url, s3__url(s->own, &arena, "", ""));
	arena_fini(&arena);
	return same;
}

/* ---- signing ---- */

static struct curl_slist *add(struct curl_slist *headers, const char *name,
			      const char *value)
{
	cleanup_free char *line = mem_printf("%s: %s", name, value);

	return curl_slist_append(headers, line);
}

static struct curl_slist *sign(const struct source *s, const char *method,
			       const char *url, struct curl_slist *headers)
{
	const struct s3 *own = s->own;
	cleanup_free char *host = url_host(url);
	cleanup_free char *value = NULL;
	struct s3_header rows[5];
	char date[S3_DATE];
	time_t now = time(NULL);
	struct tm utc;
	size_t n = 0;

	if (own->bearer) {
		value = mem_printf("Bearer %s", own->bearer);
		return add(headers, "Authorization", value);
	}
	gmtime_r(&now, &utc);
	strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &utc);
	rows[n++] = (struct s3_header){"host", host ? host : ""};
	if (own->asks_sums && strcmp(method, "HEAD") == 0)
		rows[n++] =
			(struct s3_header){"x-amz-checksum-mode", "ENABLED"};
	rows[n++] = (struct s3_header){"x-amz-content-sha256", S3_NOTHING};
	rows[n++] = (struct s3_header){"x-amz-date", date};
	if (own->keys.token)
		rows[n++] = (struct s3_header){"x-amz-security-token",
					       own->keys.token};
	for (size_t i = 1; i < n; i++)
		/* Who has no keys is asked for none, and asks for sums. */
		if (own->keys.id ||
		    strcmp(rows[i].name, "x-amz-checksum-mode") == 0)
			headers = add(headers, rows[i].name, rows[i].value);
	if (!own->keys.id)
		return headers;
	value = s3_authorization(&(struct s3_request){method, url, own->region,
						      "s3", date, rows, n},
				 &own->keys);
	return add(headers, "Authorization", value);
}

/* ---- asking ---- */

int s3__ask(struct source *s, const char *method, const char *key,
	    const char *query, struct answer *ret, struct failure *why)
{
	struct s3 *own = s->own;

	for (int i = 0;; i++) {
		struct request q = {
			.method = method,
			.url = s3__url(own, &s->arena, key, query),
			.max = BODY_BYTES_MAX,
		};
		const char *region;

		if (client_ask(s->client, s, &q, ret, why) != 0)
			return -1;
		region = ret->heads.region;
		if (i > 0 || own->endpoint || !region ||
		    ret->heads.status < 300 ||
		    strcmp(region, own->region) == 0 ||
		    strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") !=
			    strlen(region))
			return 0;
		own->region = arena_strdup(&s->arena, region);
		answer_end(ret);
	}
}

/* The text of <Code> in an error of S3's; NULL: it has none. */
static const char *code_of(const struct answer *an, struct arena *arena)
{
	enum xml_kind kind;
	bool inside = false;
	struct str word;
	struct xml x;

	xml_init(&x, an->body.data, an->body.len, arena);
	while ((kind = xml_next(&x, &word)) != XML_END && kind != XML_BAD) {
		if (kind == XML_OPEN)
			inside = str_eq(word, STR("Code"));
		else if (kind == XML_TEXT && inside)
			return arena_strndup(arena, word.p, word.n);
	}
	return NULL;
}

int s3__refused(struct source *s, struct answer *an, struct failure *why)
{
	const char *code = code_of(an, &s->arena);

	client_refused(s, an->url, an->heads.status, why);
	if (code && strlen(code) < 80)
		failure_set(why, why->code, why->again, "%s (%s)", why->text,
			    code);
	return -1;
}

/* ---- what is there ---- */

static int base64(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The SHA-256 of a whole object, as S3 states it. That of an upload in parts is
 * one over the parts' sums ("...-3"), and says nothing of the bytes. */
static void take_sum(const char *stated, char out[SHA256_HEX])
{
	unsigned char bytes[33];
	uint32_t bits = 0;
	size_t n = 0;

	out[0] = '\0';
	if (!stated || strlen(stated) != 44 || stated[43] != '=')
		return;
	for (size_t i = 0; i < 43; i++) {
		int v = base64(stated[i]);

		if (v < 0)
			return;
		bits = bits << 6 | (uint32_t)v;
		if (i % 4 != 0)
			bytes[n++] =
				(unsigned char)(bits >> (6 - i % 4 * 2) & 255);
	}
	str_hex(bytes, SHA256_BYTES, out);
}

/* Of the objects whose list says that they have one. */
static int ask_sums(struct source *s, struct listing *l, const char *prefix,
		    struct failure *why)
{
	for (size_t i = 0; i < l->n; i++) {
		struct source_file *f = &l->files[i];
		cleanup_free char *key = NULL;
		struct answer an;

		if (f->sha256[0] != '?')
			continue;
		f->sha256[0] = '\0';
		key = mem_printf("%s%s", prefix, f->path);
		if (s3__ask(s, "HEAD", key, "", &an, why) != 0)
			return -1;
		if (an.heads.status == 200)
			take_sum(an.heads.checksum, f->sha256);
		answer_end(&an);
	}
	return 0;
}

static int list_folder(struct source *s, struct listing *l, const char *prefix,
		       struct failure *why)
{
	int rc = s3__list_prefix(s, l, prefix, why);

	return rc == 0 ? ask_sums(s, l, prefix, why) : rc;
}

static int take_object(struct source *s, struct listing *l,
		       const struct answer *an, struct failure *why)
{
	const struct s3 *own = s->own;
	const char *slash = strrchr(own->key, '/');
	struct source_file *f;

	f = listing_add(l, str_of(slash ? slash + 1 : own->key), why);
	if (!f)
		return -1;
	if (an->heads.length == SIZE_UNKNOWN)
		return failure_set(why, FAIL_BROKEN, false,
				   "%s: the endpoint does not say how large it "
				   "is: does it speak S3?",
				   s->shown);
	f->url = s3__url(own, &l->arena, own->key, "");
	f->size = an->heads.length;
	if (an->heads.etag)
		f->etag = arena_strdup(&l->arena, an->heads.etag);
	l->etag = f->etag;
	take_sum(an->heads.checksum, f->sha256);
	return 0;
}

/* A key is an object, or what begins the keys of several. */
static int list(struct source *s, struct listing *l, struct failure *why)
{
	const struct s3 *own = s->own;
	cleanup_free char *prefix = NULL;
	struct answer an;
	size_t len = strlen(own->key);
	int rc;

	if (len == 0 || own->key[len - 1] == '/')
		return list_folder(s, l, own->key, why);
	if (s3__ask(s, "HEAD", own->key, "", &an, why) != 0)
		return -1;
	if (an.heads.status == 200) {
		rc = take_object(s, l, &an, why);
		answer_end(&an);
		return rc;
	}
	/* Who may not list is told 403 of what is not there. */
	if (an.heads.status == 404 || an.heads.status == 403) {
		prefix = mem_printf("%s/", own->key);
		rc = list_folder(s, l, prefix, why);
		if (rc == 0 && l->n == 0 && an.heads.status == 403)
			rc = s3__refused(s, &an, why);
	} else {
		rc = s3__refused(s, &an, why);
	}
	answer_end(&an);
	return rc;
}

int s3__begin(struct source *s, struct s3 *own, struct failure *why)
{
	const char *bucket = strstr(s->url, "://") + 3;
	size_t len = strcspn(bucket, "/");
	char *endpoint;

	/* It becomes a part of a host's name. */
	if (len == 0 || len > 255 ||
	    strspn(bucket,
		   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		   "0123456789.-_") < len)
		return failure_set(why, FAIL_BAD_URL, false,
				   "'%.200s' names no bucket: write "
				   "%.2s://BUCKET/KEY",
				   s->shown, s->url);
	own->bucket = arena_strndup(&s->arena, bucket, len);
	own->key = bucket[len] == '/' ? bucket + len + 1 : "";
	if (own->endpoint) {
		if (strncasecmp(own->endpoint, "http", 4) != 0 ||
		    !strstr(own->endpoint, "://"))
			return failure_set(why, FAIL_BAD_URL, false,
					   "the endpoint of S3 is no address: "
					   "AWS_ENDPOINT_URL is to be "
					   "https://HOST");
		endpoint = arena_strdup(&s->arena, own->endpoint);
		while (*endpoint && endpoint[strlen(endpoint) - 1] == '/')
			endpoint[strlen(endpoint) - 1] = '\0';
		own->endpoint = endpoint;
	}
	s->own = own;
	s->list = list;
	s->sign = sign;
	s->trusts = trusts;
	return 0;
}

int source__s3(struct source *s, struct failure *why)
{
	struct s3 *own = arena_zalloc(&s->arena, sizeof *own);

	s3__credentials(&s->arena, &own->keys, &own->region);
	own->endpoint = env("AWS_ENDPOINT_URL_S3");
	if (!own->endpoint)
		own->endpoint = env("AWS_ENDPOINT_URL");
	if (!own->region)
		own->region = "us-east-1";
	own->asks_sums = true;
	s->forbidden =
		own->keys.id
			? "check the keys, the clock of this machine, and that "
			  "they allow s3:GetObject and s3:ListBucket"
			: "there are no credentials: set AWS_ACCESS_KEY_ID and "
			  "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
	s->missing = "check bucket and key; AWS_ENDPOINT_URL chooses another "
		     "S3 than Amazon's";
	return s3__begin(s, own, why);
}
