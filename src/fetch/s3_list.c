/* s3_list.c: what is below a prefix, page by page. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/sha256.h"
#include "fetch/s3.h"
#include "fetch/url.h"
#include "fetch/xml.h"

enum { DEPTH_MAX = 8, PAGES_MAX = 100000 };

struct page {
	struct source *s;
	struct listing *l;
	const char *prefix;
	struct sha256 *sum; /* over all pages */
	struct arena arena; /* of this page */
	struct failure *why;

	bool truncated, encoded;
	struct str next; /* where the next page goes on */
	/* The object being read. */
	struct str key, etag, size, algorithm;
};

static int nonsense(struct page *p, const char *what)
{
	return failure_set(p->why, FAIL_BROKEN, false,
			   "%s: the list of what is there makes no sense (%s): "
			   "does the endpoint speak S3?",
			   p->s->shown, what);
}

/* In the listing's arena, with its quotes; NULL for none. */
static const char *quoted(struct page *p, struct str etag)
{
	if (etag.n == 0)
		return NULL;
	if (etag.p[0] == '"')
		return arena_strndup(&p->l->arena, etag.p, etag.n);
	return arena_printf(&p->l->arena, "\"%.*s\"", (int)etag.n, etag.p);
}

static int add_object(struct page *p)
{
	cleanup_free char *undone = NULL;
	const char *key = p->key.p ? p->key.p : "";
	size_t prefix = strlen(p->prefix);
	struct source_file *f;
	uint64_t size;

	if (p->encoded) {
		key = undone = url_unescape(p->key, true);
		if (!key)
			return nonsense(p, "a key with a NUL, or half a %");
	}
	if (strncmp(key, p->prefix, prefix) != 0)
		return nonsense(p, "a key that was not asked for");
	if (!str_u64(p->size, &size) || size > INT64_MAX)
		return nonsense(p, "a size that is none");
	/* What consoles make to have a folder. */
	if (size == 0 && (key[prefix] == '\0' || key[strlen(key) - 1] == '/'))
		return 0;
	f = listing_add(p->l, str_of(key + prefix), p->why);
	if (!f)
		return -1;
	f->url = s3__url(p->s->own, &p->l->arena, key, "");
	f->size = size;
	f->etag = quoted(p, p->etag);
	/* Asked for later: only those that are said to have one. */
	if (str_ieq(p->algorithm, STR("SHA256")))
		f->sha256[0] = '?';
	sha256_add(p->sum, key, strlen(key) + 1);
	sha256_add(p->sum, p->size.p, p->size.n);
	sha256_add(p->sum, p->etag.p ? p->etag.p : "", p->etag.n);
	sha256_add(p->sum, "\n", 1);
	return 0;
}

/* A text of ListBucketResult, or of one of its Contents. */
static void take_text(struct page *p, const struct str *path, size_t depth,
		      struct str text)
{
	const struct {
		struct str name;
		struct str *to;
	} rows[] = {{STR("Key"), &p->key},
		    {STR("ETag"), &p->etag},
		    {STR("Size"), &p->size},
		    {STR("ChecksumAlgorithm"), &p->algorithm}};
	struct str name = path[depth - 1];

	if (depth == 2 && str_eq(name, STR("IsTruncated")))
		p->truncated = str_eq(text, STR("true"));
	else if (depth == 2 && str_eq(name, STR("EncodingType")))
		p->encoded = str_eq(text, STR("url"));
	else if (depth == 2 && str_eq(name, STR("NextContinuationToken")))
		p->next = text;
	if (depth != 3 || !str_eq(path[1], STR("Contents")))
		return;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eq(name, rows[i].name))
			*rows[i].to = text;
}

/* Objects come before it is known how their keys are written: twice over. */
static int walk(struct page *p, const struct buf *body, bool add)
{
	struct str path[DEPTH_MAX], word;
	enum xml_kind kind;
	size_t depth = 0;
	bool any = false;
	struct xml x;

	xml_init(&x, body->data, body->len, &p->arena);
	while ((kind = xml_next(&x, &word)) != XML_END) {
		if (kind == XML_OPEN) {
			if (depth == DEPTH_MAX)
				return nonsense(p, "too deep");
			path[depth++] = word;
			any = true;
			if (depth == 2)
				p->key = p->etag = p->size = p->algorithm =
					(struct str){0};
		} else if (kind == XML_TEXT && depth > 0) {
			take_text(p, path, depth, word);
		} else if (kind == XML_CLOSE && depth > 0 &&
			   str_eq(path[depth - 1], word)) {
			if (add && depth == 2 &&
			    str_eq(word, STR("Contents")) && add_object(p) != 0)
				return -1;
			depth--;
		} else {
			return nonsense(p, "broken XML");
		}
		if (depth == 1 && !str_eq(path[0], STR("ListBucketResult")))
			return nonsense(p, "it is no ListBucketResult");
	}
	return any && depth == 0 ? 0 : nonsense(p, "it ends too soon");
}

static char *query_of(const char *prefix, const char *token)
{
	cleanup_free char *p = url_escape(str_of(prefix), false);
	cleanup_free char *t = url_escape(str_of(token), false);

	return mem_printf("%s%s%sencoding-type=url&list-type=2&prefix=%s",
			  *t ? "continuation-token=" : "", t, *t ? "&" : "", p);
}

/* *ret_token: where the next begins, owned; NULL behind the last. */
static int list_page(struct page *p, const char *token, char **ret_token)
{
	cleanup_free char *query = query_of(p->prefix, token ? token : "");
	struct answer an;
	int rc;

	*ret_token = NULL;
	if (s3__ask(p->s, "GET", "", query, &an, p->why) != 0)
		return -1;
	if (an.heads.status != 200) {
		rc = s3__refused(p->s, &an, p->why);
		answer_end(&an);
		return rc;
	}
	rc = walk(p, &an.body, false);
	if (rc == 0)
		rc = walk(p, &an.body, true);
	if (rc == 0 && p->truncated && p->next.n == 0)
		rc = nonsense(p, "a page that says nothing of the next");
	if (rc == 0 && p->truncated)
		*ret_token = mem_strndup(p->next.p, p->next.n);
	answer_end(&an);
	return rc;
}

int s3__list_prefix(struct source *s, struct listing *l, const char *prefix,
		    struct failure *why)
{
	char *token = NULL;
	char hex[SHA256_HEX];
	struct sha256 sum;
	int rc = 0;

	sha256_init(&sum);
	for (int i = 0; rc == 0 && (i == 0 || token); i++) {
		struct page p = {.s = s,
				 .l = l,
				 .prefix = prefix,
				 .sum = &sum,
				 .why = why};
		char *next = NULL;

		arena_init(&p.arena);
		rc = i < PAGES_MAX ? list_page(&p, token, &next)
				   : nonsense(&p, "pages without end");
		arena_fini(&p.arena);
		free(token);
		token = rc == 0 ? next : NULL;
	}
	free(token);
	sha256_hex(&sum, hex);
	if (rc == 0)
		l->etag = arena_strdup(&l->arena, hex);
	return rc;
}
