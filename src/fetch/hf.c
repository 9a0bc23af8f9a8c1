/* hf.c: a model of the hub (huggingface.co, or what HF_ENDPOINT names). */
#include "fetch/hf.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "fetch/client.h"
#include "fetch/url.h"
#include "loop/file.h"
#include "store/blob.h"

enum { BODY_BYTES_MAX = 256 << 20, TOKEN_BYTES_MAX = 4096 };

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static bool trusts(const struct source *s, const char *url)
{
	const struct hf *own = s->own;

	return url_same_host(url, own->endpoint);
}

static struct curl_slist *sign(const struct source *s, const char *method,
			       const char *url, struct curl_slist *headers)
{
	const struct hf *own = s->own;
	cleanup_free char *line = NULL;

	(void)method;
	(void)url;
	if (!own->token)
		return headers;
	line = mem_printf("Authorization: Bearer %s", own->token);
	return curl_slist_append(headers, line);
}

static int nonsense(const struct source *s, const char *what,
		    struct failure *why)
{
	return failure_set(why, FAIL_BROKEN, false,
			   "%s: what the hub answers makes no sense (%s): is "
			   "HF_ENDPOINT right?",
			   s->shown, what);
}

static int add_file(const struct source *s, struct listing *l, yyjson_val *row,
		    const char *commit, struct failure *why)
{
	const struct hf *own = s->own;
	yyjson_val *name = yyjson_obj_get(row, "rfilename");
	yyjson_val *lfs = yyjson_obj_get(row, "lfs");
	cleanup_free char *escaped = NULL;
	struct source_file *f;
	const char *sum;
	int64_t size;

	if (!yyjson_is_str(name))
		return nonsense(s, "a file without a name", why);
	f = listing_add(
		l, (struct str){yyjson_get_str(name), yyjson_get_len(name)},
		why);
	if (!f)
		return -1;
	size = json_int(lfs, "size", json_int(row, "size", -1));
	if (size < 0)
		return nonsense(s, "a file without a size", why);
	f->size = (uint64_t)size;
	sum = json_str(lfs, "sha256", NULL);
	if (sum && !blob_hash_ok(sum))
		return nonsense(s, "a SHA-256 that is none", why);
	if (sum)
		memcpy(f->sha256, sum, SHA256_HEX);
	else
		f->blob = arena_strdup(&l->arena, json_str(row, "blobId", ""));
	escaped = url_escape(str_of(f->path), true);
	f->url = arena_printf(&l->arena, "%s/%s/resolve/%s/%s", own->endpoint,
			      own->name, commit, escaped);
	return 0;
}

static int read_answer(const struct source *s, struct listing *l,
		       const struct answer *an, struct failure *why)
{
	cleanup_json yyjson_doc *doc =
		json_parse(an->body.data, an->body.len, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc), *files, *row;
	const char *commit = json_str(root, "sha", NULL);
	size_t i, n;

	files = yyjson_obj_get(root, "siblings");
	if (!commit || !*commit || strlen(commit) > 64 ||
	    strspn(commit, "0123456789abcdef") != strlen(commit))
		return nonsense(s, "no commit", why);
	if (!yyjson_is_arr(files))
		return nonsense(s, "no list of files", why);
	yyjson_arr_foreach(files, i, n, row)
	{
		if (add_file(s, l, row, commit, why) != 0)
			return -1;
	}
	l->etag = arena_strdup(&l->arena, commit);
	hf__choose(l);
	hf__look_in_cache(s->own, l);
	return 0;
}

static int list(struct source *s, struct listing *l, struct failure *why)
{
	const struct hf *own = s->own;
	cleanup_free char *revision = url_escape(str_of(own->revision), false);
	cleanup_free char *url =
		mem_printf("%s/api/models/%s/revision/%s?blobs=true",
			   own->endpoint, own->name, revision);
	struct request q = {.method = "GET", .url = url, .max = BODY_BYTES_MAX};
	struct answer an;
	int rc;

	if (client_ask(s->client, s, &q, &an, why) != 0)
		return -1;
	if (an.heads.status == 200)
		rc = read_answer(s, l, &an, why);
	else
		rc = client_refused(s, an.url, an.heads.status, why);
	answer_end(&an);
	return rc;
}

/* HF_TOKEN, else the file that the hub's own tools leave it in. */
static const char *find_token(struct arena *arena)
{
	cleanup_free char *usual = NULL, *text = NULL;
	const char *path = env("HF_TOKEN_PATH");
	struct str token;
	size_t len;

	if (env("HF_TOKEN"))
		return env("HF_TOKEN");
	if (!path && env("HF_HOME"))
		path = usual = mem_printf("%s/token", env("HF_HOME"));
	else if (!path && env("HOME"))
		path = usual =
			mem_printf("%s/.cache/huggingface/token", env("HOME"));
	if (!path || file_read(path, TOKEN_BYTES_MAX, &text, &len, NULL) != 0)
		return NULL;
	token = (struct str){text, strcspn(text, "\r\n")};
	token = str_trim(token);
	return token.n > 0 ? arena_strndup(arena, token.p, token.n) : NULL;
}

/* ORG/NAME, or the NAME alone that some old models have. */
static bool name_is_good(const char *name)
{
	const char *slash = strchr(name, '/');

	return project_path_ok(name) && strlen(name) <= 200 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"
			    "YZ0123456789-_./") == strlen(name) &&
	       (!slash || !strchr(slash + 1, '/'));
}

int source__hf(struct source *s, struct failure *why)
{
	struct hf *own = arena_zalloc(&s->arena, sizeof *own);
	const char *name = s->url + strlen("hf://");
	size_t len = strcspn(name, "@");
	char *endpoint =
		arena_strdup(&s->arena, env("HF_ENDPOINT") ? env("HF_ENDPOINT")
							   : "https://"
							     "huggingface.co");

	while (*endpoint && endpoint[strlen(endpoint) - 1] == '/')
		endpoint[strlen(endpoint) - 1] = '\0';
	own->endpoint = endpoint;
	own->name = arena_strndup(&s->arena, name, len);
	own->revision = name[len] == '@' ? name + len + 1 : "main";
	own->token = find_token(&s->arena);
	if (!name_is_good(own->name) || !project_path_ok(own->revision))
		return failure_set(why, FAIL_BAD_URL, false,
				   "'%.200s' names no model of the hub: write "
				   "hf://ORG/NAME, or hf://ORG/NAME@REVISION",
				   s->shown);
	s->own = own;
	s->list = list;
	s->sign = sign;
	s->trusts = trusts;
	s->forbidden =
		own->token
			? "the token may not read it: accept the model's terms "
			  "at the hub, or set the HF_TOKEN of who has"
			: "there is no such model, or it is private or gated: "
			  "mind the spelling, or set HF_TOKEN";
	s->missing = "check the name, and the revision behind '@'";
	return 0;
}
