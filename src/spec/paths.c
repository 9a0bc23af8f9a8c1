/* Texts that name something: an api, a URL path, a file of the project. */
#include <assert.h>
#include <ctype.h>
#include <regex.h>
#include <string.h>

#include "core/mem.h"
#include "spec/source.h"
#include "spec/value.h"

enum { PATH_LEN_MAX = 1024 };

bool value_read_name(struct reader *r, const struct key *k, struct node *n,
		     const char **ret)
{
	const char *s = n->text;
	size_t last = n->len - 1;
	bool ok = n->len <= (size_t)k->max && islower((unsigned char)s[0]) &&
		  s[last] != '-';

	for (size_t i = 0; i <= last && ok; i++)
		ok = islower((unsigned char)s[i]) ||
		     isdigit((unsigned char)s[i]) || s[i] == '-';
	if (ok) {
		*ret = s;
		return true;
	}
	value_unexpected(r, k, n,
			 arena_printf(&r->set->arena,
				      "at most %.0f lower-case letters, digits "
				      "and '-', beginning with a letter and "
				      "not ending in '-'",
				      k->max));
	return false;
}

/* The next part of a path, '/' skipped. False at its end. */
static bool next_part(const char **at, const char **part, size_t *len)
{
	*at += strspn(*at, "/");
	*part = *at;
	*len = strcspn(*at, "/");
	*at += *len;
	return *len;
}

static bool is_dots(const char *part, size_t len)
{
	return (len == 1 && part[0] == '.') ||
	       (len == 2 && part[0] == '.' && part[1] == '.');
}

/* Cortex added the first '/' and took off the last. */
bool value_read_endpoint(struct reader *r, const struct key *k, struct node *n,
			 const char **ret)
{
	const char *at = n->text, *part;
	size_t len, longest = (size_t)k->max, parts = 0;
	bool ok = n->len <= longest && !strstr(n->text, "//");
	char *out;

	while (ok && next_part(&at, &part, &len)) {
		parts++;
		ok = !is_dots(part, len);
		for (size_t i = 0; i < len && ok; i++)
			ok = isalnum((unsigned char)part[i]) ||
			     strchr("-._~", part[i]);
	}
	if (!ok || !parts) {
		value_unexpected(r, k, n,
				 "a path such as /iris or /team/iris of at "
				 "most 1000 letters, digits and -._~");
		return false;
	}
	out = arena_printf(&r->set->arena, "%s%s", n->text[0] == '/' ? "" : "/",
			   n->text);
	len = strlen(out);
	if (out[len - 1] == '/')
		out[len - 1] = 0;
	*ret = out;
	return true;
}

bool value_read_url_path(struct reader *r, const struct key *k, struct node *n,
			 const char **ret)
{
	bool ok = n->text[0] == '/' && n->len <= PATH_LEN_MAX;

	for (size_t i = 0; i < n->len && ok; i++)
		ok = n->text[i] > 0x20 && n->text[i] < 0x7f &&
		     n->text[i] != '#';
	if (!ok) {
		value_unexpected(r, k, n,
				 "a path that begins with '/', such as "
				 "/health");
		return false;
	}
	*ret = n->text;
	return true;
}

static bool has_dotdot(const char *path)
{
	const char *part;
	size_t len;

	while (next_part(&path, &part, &len))
		if (len == 2 && is_dots(part, len))
			return true;
	return false;
}

bool value_read_program(struct reader *r, const struct key *k, struct node *n,
			const char **ret)
{
	if (n->text[0] == '~') {
		problem_error(r, n, k->path,
			      "'~' is not filled in: write the whole path");
		return false;
	}
	if (n->len > PATH_LEN_MAX ||
	    (n->text[0] != '/' && has_dotdot(n->text))) {
		value_unexpected(r, k, n,
				 "an absolute path, or one inside the project");
		return false;
	}
	*ret = n->text;
	return true;
}

/* Without "./", "//" and the last '/'; "" for the project itself. */
static const char *tidy(struct reader *r, const char *path)
{
	char *out = arena_alloc(&r->set->arena, strlen(path) + 2);
	const char *part;
	size_t len, n = 0;

	while (next_part(&path, &part, &len)) {
		if (len == 1 && part[0] == '.')
			continue;
		if (n)
			out[n++] = '/';
		memcpy(out + n, part, len);
		n += len;
	}
	out[n] = 0;
	return out;
}

/* Whether the project has it, as far as that can be told. */
static bool is_there(struct reader *r, const struct key *k, struct node *n,
		     const char *path)
{
	bool dir = k->type == KEY_DIR;
	int kind;

	if (!r->files)
		return true;
	kind = r->files->kind_of(r->files->data, path);
	if (kind == (dir ? 2 : 1))
		return true;
	if (kind)
		problem_error(r, n, k->path, "%s is a %s; expected a %s",
			      problem_quote(r, path),
			      dir ? "file" : "directory",
			      dir ? "directory" : "file");
	else
		problem_error(r, n, k->path,
			      "project has no %s %s (looked beside %s)",
			      dir ? "directory" : "file",
			      problem_quote(r, path), r->file_name);
	return false;
}

static bool is_inside(struct reader *r, const struct key *k, struct node *n)
{
	if (n->text[0] != '/' && n->text[0] != '~' && !has_dotdot(n->text) &&
	    n->len <= PATH_LEN_MAX)
		return true;
	problem_error(r, n, k->path,
		      "expected a path inside the project, relative to %s and "
		      "without '..', found %s",
		      r->file_name, node_shown(r, n));
	return false;
}

static bool ends_in(const char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);

	return n > m && strcmp(path + n - m, end) == 0;
}

bool value_read_engine(struct reader *r, const struct key *k, struct node *n,
		       const char **ret)
{
	const char *path;

	if (value_word(k->words, n->text) >= 0) {
		*ret = n->text;
		return true;
	}
	if (!ends_in(n->text, ".so")) {
		value_unexpected(r, k, n,
				 "onnx, echo, or a file of the project whose "
				 "name ends in .so");
		return false;
	}
	if (!is_inside(r, k, n))
		return false;
	path = tidy(r, n->text);
	if (!is_there(r, k, n, path))
		return false;
	*ret = path;
	return true;
}

static bool is_url(const char *text)
{
	regex_t regex;
	int rc = regcomp(&regex, SOURCE_URL_PATTERN, REG_EXTENDED | REG_NOSUB);

	assert(rc == 0);
	rc = regexec(&regex, text, 0, NULL, 0);
	regfree(&regex);
	return rc == 0;
}

/* A URL, as it is written; of what is in place there is no "..". */
static bool read_url(struct reader *r, const struct key *k, struct node *n,
		     const char **ret)
{
	const char *place = source_in_place(n->text);

	if (source_has_user(n->text)) {
		problem_error(r, n, k->path, "%s", SOURCE_NO_USER);
		return false;
	}
	if (!is_url(n->text) || n->len > PATH_LEN_MAX ||
	    (place && has_dotdot(place))) {
		value_unexpected(r, k, n, SOURCE_WORDS);
		return false;
	}
	*ret = n->text;
	return true;
}

static bool is_source_path(struct reader *r, const struct key *k,
			   struct node *n)
{
	if (n->text[0] != '~' && !has_dotdot(n->text) && n->len <= PATH_LEN_MAX)
		return true;
	problem_error(r, n, k->path,
		      "expected a path without '..' and '~', absolute or "
		      "inside the project (relative to %s), found %s",
		      r->file_name, node_shown(r, n));
	return false;
}

bool value_read_source(struct reader *r, const struct key *k, struct node *n,
		       const char **ret)
{
	const char *path;

	if (strstr(n->text, "://"))
		return read_url(r, k, n, ret);
	if (!is_source_path(r, k, n))
		return false;
	if (n->text[0] == '/') {
		/* Whether it is there is for the daemon's machine to say. */
		*ret = n->text;
		return true;
	}
	path = tidy(r, n->text);
	if (r->files && *path && !r->files->kind_of(r->files->data, path)) {
		problem_error(r, n, k->path,
			      "project has no file or directory %s (looked "
			      "beside %s)",
			      problem_quote(r, path), r->file_name);
		return false;
	}
	*ret = *path ? path : ".";
	return true;
}

bool value_read_path(struct reader *r, const struct key *k, struct node *n,
		     const char **ret)
{
	const char *path;

	if (!is_inside(r, k, n))
		return false;
	path = tidy(r, n->text);
	if (k->type == KEY_DIR && !*path) {
		*ret = NULL; /* where imports start from anyway */
		return true;
	}
	if (k->type == KEY_PY_FILE && !ends_in(path, ".py")) {
		value_unexpected(r, k, n,
				 "a Python file, with a name that ends in .py");
		return false;
	}
	if (!*path) {
		value_unexpected(r, k, n, "a file of the project");
		return false;
	}
	if (!is_there(r, k, n, path))
		return false;
	*ret = path;
	return true;
}
