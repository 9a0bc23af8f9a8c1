/* http.c: one file at an address. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "fetch/client.h"
#include "fetch/source.h"
#include "fetch/url.h"

/* The last part of the path; "model" where there is none. */
static char *name_of(const char *url)
{
	const char *path = strstr(url, "://") + 3;
	size_t len = strcspn(path, "?#");
	const char *slash = memrchr(path, '/', len);
	char *name;

	if (!slash || slash + 1 == path + len)
		return mem_strdup("model");
	name = url_unescape(
		(struct str){slash + 1, (size_t)(path + len - slash - 1)},
		false);
	/* "%2F" in a name, or nonsense: no file is named so. */
	if (!name || !str_is_plain(str_of(name)) || strchr(name, '/') ||
	    strcmp(name, "..") == 0 || strcmp(name, ".") == 0) {
		free(name);
		return mem_strdup("model");
	}
	return name;
}

/* Without an ETag the time of the last change and the size will do. */
static const char *known_by(struct listing *l, const struct heads *h,
			    uint64_t size)
{
	if (h->etag)
		return arena_strdup(&l->arena, h->etag);
	if (!h->modified || size == SIZE_UNKNOWN)
		return NULL;
	return arena_printf(&l->arena, "%s, %llu bytes", h->modified,
			    (unsigned long long)size);
}

static int read_answer(struct source *s, struct listing *l,
		       const struct answer *an, struct failure *why)
{
	cleanup_free char *name = name_of(s->url);
	const struct heads *h = &an->heads;
	struct source_file *f = listing_add(l, str_of(name), why);

	if (!f)
		return -1;
	/* Asked for at its own address each time: what a redirect led to may
	 * be an address that soon ends. */
	f->url = arena_strdup(&l->arena, s->url);
	f->ranges = h->status == 206 && h->partial;
	if (h->status == 416)
		f->size = 0;
	else
		f->size = f->ranges ? h->total : h->length;
	if (f->size == SIZE_UNKNOWN)
		f->ranges = false;
	/* A weak one does not say that bytes are the same. */
	if (h->etag && strncmp(h->etag, "W/", 2) != 0)
		f->etag = arena_strdup(&l->arena, h->etag);
	l->etag = known_by(l, h, f->size);
	return 0;
}

/* Asks for the first byte: some addresses are signed for GET alone. */
static int list(struct source *s, struct listing *l, struct failure *why)
{
	struct request q = {
		.method = "GET",
		.url = s->url,
		.headers = {"Range: bytes=0-0"},
		.max = 1,
		.cut = true,
	};
	struct answer an;
	long status;
	int rc;

	if (client_ask(s->client, s, &q, &an, why) != 0)
		return -1;
	status = an.heads.status;
	/* 416 with the size 0: there is no first byte in an empty file. */
	if (status == 200 || status == 206 ||
	    (status == 416 && an.heads.total == 0))
		rc = read_answer(s, l, &an, why);
	else
		rc = client_refused(s, an.url, status, why);
	answer_end(&an);
	return rc;
}

int source__http(struct source *s, struct failure *why)
{
	cleanup_free char *host = url_host(s->url);

	if (!host || !*host || strstr(s->url, "://")[3] == '/')
		return failure_set(why, FAIL_BAD_URL, false,
				   "'%.200s' names no host: write "
				   "https://HOST/PATH",
				   s->shown);
	s->list = list;
	s->forbidden = "check the address; a signed one may have ended, and "
		       "one that wants a password cannot be fetched";
	s->missing = "check the address";
	return 0;
}
