#include "fetch/source.h"

#include <stdlib.h>
#include <string.h>

#include "core/map.h"
#include "core/mem.h"
#include "fetch/url.h"
#include "store/blob.h"

enum { NAME_BYTES_MAX = 255, LISTED_MAX = 1000000 };

void listing_init(struct listing *l)
{
	*l = (struct listing){0};
	arena_init(&l->arena);
}

void listing_fini(struct listing *l)
{
	free(l->files);
	arena_fini(&l->arena);
	*l = (struct listing){0};
}

/* No file system takes a name that is longer. */
static bool names_fit(const char *path)
{
	for (const char *p = path;; p++) {
		size_t n = strcspn(p, "/");

		if (n > NAME_BYTES_MAX)
			return false;
		p += n;
		if (*p == '\0')
			return true;
	}
}

struct source_file *listing_add(struct listing *l, struct str path,
				struct failure *why)
{
	const char *copy = arena_strndup(&l->arena, path.p, path.n);
	struct source_file *f;

	/* What a bucket's keys may be and files' names may not: what leads out
	 * of the tree, or nowhere. */
	if (strlen(copy) != path.n || !project_path_ok(copy) ||
	    !names_fit(copy) || !str_is_plain(path)) {
		failure_set(why, FAIL_BROKEN, false,
			    "the source names a file '%.200s', which cannot be "
			    "one here: a path is relative, in UTF-8, of at "
			    "most 1024 bytes with names of at most 255, and "
			    "has no '..', no empty part and no control "
			    "characters; rename it at the source",
			    copy);
		return NULL;
	}
	if (l->n == LISTED_MAX) {
		failure_set(why, FAIL_TOO_LARGE, false,
			    "the source has more than %d files: name a smaller "
			    "part of it",
			    LISTED_MAX);
		return NULL;
	}
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->files = mem_grow(l->files, l->cap * sizeof *l->files);
	}
	f = &l->files[l->n++];
	*f = (struct source_file){
		.path = copy, .size = SIZE_UNKNOWN, .ranges = true};
	return f;
}

int listing_check(const struct listing *l, const char *shown,
		  struct failure *why)
{
	const char *bad = NULL;
	struct map paths;

	if (l->n == 0)
		return failure_set(why, FAIL_NOT_FOUND, false,
				   "%s has no files: name another, or put the "
				   "model there",
				   shown);
	map_init(&paths);
	for (size_t i = 0; i < l->n; i++)
		if (map_set(&paths, l->files[i].path, &l->files[i]))
			bad = l->files[i].path;
	for (size_t i = 0; !bad && i < l->n; i++) {
		const char *path = l->files[i].path;

		for (const char *s = strchr(path, '/'); s;
		     s = strchr(s + 1, '/'))
			if (map_getn(&paths, path, (size_t)(s - path)))
				bad = path;
	}
	map_fini(&paths);
	if (bad)
		return failure_set(why, FAIL_BROKEN, false,
				   "%s has '%.200s' twice, or below what is a "
				   "file itself: no folder can hold both; "
				   "rename one at the source",
				   shown, bad);
	return 0;
}

const char *source_file_mark(const struct source_file *f)
{
	/* A weak ETag does not say that bytes are the same. */
	if (f->etag && strncmp(f->etag, "W/", 2) != 0)
		return f->etag;
	return f->blob && *f->blob ? f->blob : NULL;
}

static bool recall_file(void *data, const struct shelf_file *was,
			const char *etag)
{
	struct source_file *f = map_get(data, was->path);
	const char *mark = f ? source_file_mark(f) : NULL;

	if (mark && etag && f->size == was->size && strcmp(mark, etag) == 0)
		memcpy(f->before, was->sha256, SHA256_HEX);
	return true;
}

void listing_recall(struct listing *l, const struct shelf *shelf,
		    const char *name)
{
	struct map paths;

	map_init(&paths);
	for (size_t i = 0; i < l->n; i++)
		map_set(&paths, l->files[i].path, &l->files[i]);
	shelf_each_etag(shelf, name, recall_file, &paths);
	map_fini(&paths);
}

uint64_t listing_bytes(const struct listing *l)
{
	uint64_t total = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->files[i].size == SIZE_UNKNOWN)
			return SIZE_UNKNOWN;
		total += l->files[i].size;
	}
	return total;
}

static const struct {
	const char *scheme;
	int (*open)(struct source *s, struct failure *why);
} kinds[] = {
	{"http://", source__http}, {"https://", source__http},
	{"s3://", source__s3},	   {"gs://", source__gs},
	{"hf://", source__hf},
};

int source_open(struct source *s, struct client *client, const char *url,
		struct failure *why)
{
	*s = (struct source){.client = client, .url = url};
	if (!str_is_utf8(str_of(url)))
		return failure_set(why, FAIL_BAD_URL, false,
				   "the URL is not UTF-8: write other "
				   "characters as %%XX");
	for (const char *p = url; *p; p++)
		/* A key of a bucket may have a space. */
		if ((unsigned char)*p < ' ' || *p == 0x7f ||
		    (*p == ' ' && strncasecmp(url, "http", 4) == 0))
			return failure_set(
				why, FAIL_BAD_URL, false,
				"the URL has a space or a control character in "
				"it: write it as %%20, or leave it out");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		size_t len = strlen(kinds[i].scheme);
		int rc;

		if (strncasecmp(url, kinds[i].scheme, len) != 0)
			continue;
		arena_init(&s->arena);
		s->shown = url_shown(url);
		rc = kinds[i].open(s, why);
		if (rc != 0)
			source_close(s);
		return rc;
	}
	return failure_set(
		why, FAIL_BAD_URL, false,
		"'%.200s' is nothing that models are fetched from: "
		"write https://, s3://BUCKET/KEY, gs://BUCKET/KEY or "
		"hf://ORG/NAME",
		url);
}

void source_close(struct source *s)
{
	free(mem_take(&s->shown));
	arena_fini(&s->arena);
}
