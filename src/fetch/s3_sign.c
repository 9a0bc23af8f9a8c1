#include "fetch/s3_sign.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/mem.h"
#include "core/str.h"

enum { DAY_CHARS = 8, TEXT_MAX = 1 << 20, PARAMETERS_MAX = 64 };

static void hmac_text(const void *key, size_t len, const char *text,
		      unsigned char out[SHA256_BYTES])
{
	sha256_hmac(key, len, text, strlen(text), out);
}

void s3_signing_key(const struct s3_keys *keys, const char *date,
		    const char *region, const char *service,
		    unsigned char out[SHA256_BYTES])
{
	cleanup_free char *first = mem_printf("AWS4%s", keys->secret);
	cleanup_free char *day = mem_strndup(date, DAY_CHARS);
	unsigned char a[SHA256_BYTES], b[SHA256_BYTES];

	hmac_text(first, strlen(first), day, a);
	hmac_text(a, sizeof a, region, b);
	hmac_text(b, sizeof b, service, a);
	hmac_text(a, sizeof a, "aws4_request", out);
}

/* By the names alone: "a=" comes before "a-b=", though '-' is before '='. */
static int by_name(const void *x, const void *y)
{
	const struct str *a = x, *b = y;
	const char *end_a = memchr(a->p, '=', a->n);
	const char *end_b = memchr(b->p, '=', b->n);
	size_t n_a = end_a ? (size_t)(end_a - a->p) : a->n;
	size_t n_b = end_b ? (size_t)(end_b - b->p) : b->n;
	int by = memcmp(a->p, b->p, MIN(n_a, n_b));

	if (by != 0)
		return by;
	return n_a < n_b ? -1 : n_a > n_b;
}

static void add_query(struct buf *to, const char *query)
{
	struct str all[PARAMETERS_MAX];
	size_t n = 0;

	while (*query && n < PARAMETERS_MAX) {
		size_t len = strcspn(query, "&");

		all[n++] = (struct str){query, len};
		query += len + (query[len] == '&');
	}
	qsort(all, n, sizeof *all, by_name);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(to, '&');
		buf_add(to, all[i].p, all[i].n);
		if (!memchr(all[i].p, '=', all[i].n))
			buf_addc(to, '=');
	}
}

static void add_names(struct buf *to, const struct s3_request *q)
{
	for (size_t i = 0; i < q->n_headers; i++)
		buf_addf(to, "%s%s", i > 0 ? ";" : "", q->headers[i].name);
}

/* The request in the one form that both sides make of it, hashed. */
static void hash_request(const struct s3_request *q, char out[SHA256_HEX])
{
	const char *path = strstr(q->url, "://") + 3;
	const char *query;
	struct sha256 sum;
	struct buf text;
	size_t len;

	path += strcspn(path, "/?");
	len = strcspn(path, "?");
	query = path[len] == '?' ? path + len + 1 : "";
	buf_init(&text, TEXT_MAX);
	buf_addf(&text, "%s\n", q->method);
	if (len == 0)
		buf_addc(&text, '/');
	buf_add(&text, path, len);
	buf_addc(&text, '\n');
	add_query(&text, query);
	buf_addc(&text, '\n');
	for (size_t i = 0; i < q->n_headers; i++)
		buf_addf(&text, "%s:%s\n", q->headers[i].name,
			 q->headers[i].value);
	buf_addc(&text, '\n');
	add_names(&text, q);
	buf_adds(&text, "\n" S3_NOTHING);
	sha256_init(&sum);
	sha256_add(&sum, text.data, text.len);
	sha256_hex(&sum, out);
	buf_fini(&text);
}

char *s3_authorization(const struct s3_request *q, const struct s3_keys *keys)
{
	cleanup_free char *scope = mem_printf("%.8s/%s/%s/aws4_request",
					      q->date, q->region, q->service);
	cleanup_free char *to_sign = NULL;
	unsigned char key[SHA256_BYTES], mac[SHA256_BYTES];
	char hash[SHA256_HEX], signature[SHA256_HEX];
	struct buf names;
	char *value;

	hash_request(q, hash);
	to_sign = mem_printf("AWS4-HMAC-SHA256\n%s\n%s\n%s", q->date, scope,
			     hash);
	s3_signing_key(keys, q->date, q->region, q->service, key);
	hmac_text(key, sizeof key, to_sign, mac);
	str_hex(mac, sizeof mac, signature);
	buf_init(&names, TEXT_MAX);
	add_names(&names, q);
	value = mem_printf("AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,"
			   "Signature=%s",
			   keys->id, scope, buf_cstr(&names), signature);
	buf_fini(&names);
	return value;
}
