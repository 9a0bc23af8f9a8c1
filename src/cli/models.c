#include "cli/models.h"

#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "core/mem.h"
#include "spec/source.h"

static void bytes_cell(struct table *t, yyjson_val *o, const char *key)
{
	int64_t n = json_int(o, key, -1);
	char text[32];

	if (n >= 0)
		table_cell(t, "%s", str_human_bytes((uint64_t)n, text));
	else
		table_cell(t, "-");
}

static void age_cell(struct table *t, yyjson_val *o, const char *key)
{
	int64_t at = term_parse_time(json_str(o, key, NULL));
	char text[32];

	table_cell(t, "%s",
		   term_age(at < 0 ? -1 : MAX(0, term_wall_ms() - at), text));
}

/* "iris, other": each api once. */
static char *users_of(yyjson_val *model)
{
	yyjson_val *user;
	const char *last = "";
	size_t i, n;
	struct buf b;

	buf_init(&b, 64 * 1024);
	yyjson_arr_foreach(yyjson_obj_get(model, "used_by"), i, n, user)
	{
		const char *name = json_str(user, "api", "?");

		if (strcmp(name, last) == 0)
			continue;
		buf_addf(&b, "%s%s", b.len ? ", " : "", name);
		last = name;
	}
	return b.len ? buf_take(&b, NULL) : mem_strdup("-");
}

static void state_cell(struct table *t, yyjson_val *model)
{
	double total = json_num(model, "bytes_total", 0);
	double done = json_num(model, "bytes_done", 0);
	const char *state = json_str(model, "state", "?");

	if (total > 0)
		table_cell(t, "%s %.0f%%", state, 100 * done / total);
	else
		table_cell(t, "%s", state);
}

static void print_list(yyjson_val *root)
{
	static const char *const header[] = {"model", "state",	 "size",
					     "files", "checked", "used by"};
	yyjson_val *list = yyjson_obj_get(root, "models"), *model;
	struct table t;
	size_t i, n;

	if (yyjson_arr_size(list) == 0) {
		puts("no models were fetched; 'soma models pull URL' fetches "
		     "one, and so does a deploy of an api that names it");
		return;
	}
	table_init(&t, ARRAY_LEN(header), header);
	yyjson_arr_foreach(list, i, n, model)
	{
		cleanup_free char *users = users_of(model);
		cleanup_free char *url =
			source_shown(json_str(model, "url", "-"));

		table_cell(&t, "%s", url);
		state_cell(&t, model);
		bytes_cell(&t, model, "bytes");
		table_cell(&t, "%lld",
			   (long long)json_int(model, "n_files", 0));
		age_cell(&t, model, "checked");
		table_cell(&t, "%s", users);
	}
	table_print(&t);
	table_fini(&t);
}

static void print_info(yyjson_val *model)
{
	static const char *const header[] = {"file", "size", "sha256"};
	cleanup_free char *users = users_of(model);
	cleanup_free char *url = source_shown(json_str(model, "url", "-"));
	const char *message = json_str(model, "message", NULL);
	yyjson_val *file;
	struct table t;
	size_t i, n;
	char text[32];

	printf("%s: %s, %s\n", url, json_str(model, "state", "?"),
	       str_human_bytes((uint64_t)json_int(model, "bytes", 0), text));
	if (message)
		printf("%s\n", message);
	printf("path: %s\nused by: %s\n\n", json_str(model, "path", "-"),
	       users);
	table_init(&t, ARRAY_LEN(header), header);
	yyjson_arr_foreach(yyjson_obj_get(model, "files"), i, n, file)
	{
		table_cell(&t, "%s", json_str(file, "path", "?"));
		bytes_cell(&t, file, "size");
		table_cell(&t, "%s", json_str(file, "sha256", "?"));
	}
	table_print(&t);
	table_fini(&t);
}

static void print_df(yyjson_val *root)
{
	static const char *const rows[][2] = {{"bytes", "models"},
					      {"used_bytes", "in use"},
					      {"free_bytes", "free"},
					      {"models_size", "limit"}};
	char text[32];

	printf("%s: %lld models\n", json_str(root, "dir", "?"),
	       (long long)json_int(root, "models", 0));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t n = (uint64_t)json_int(root, rows[i][0], 0);

		if (n || strcmp(rows[i][1], "limit") != 0)
			printf("%-8s %s\n", rows[i][1],
			       str_human_bytes(n, text));
	}
}

/* ---- the words ---- */

static char *path_of(const char *url)
{
	char *escaped = curl_easy_escape(NULL, url, (int)strlen(url));
	char *path;

	if (!escaped)
		abort();
	path = mem_printf("/v1/models?url=%s", escaped);
	curl_free(escaped);
	return path;
}

/* A URL that a word takes, or does not take. */
enum takes { TAKES_NONE, TAKES_URL, MAY_TAKE_URL };

static const struct {
	const char *word;
	enum takes takes;
	const char *method; /* NULL: more than one call and its answer */
	const char *path;   /* NULL: that of the URL */
	void (*show)(yyjson_val *root);
} words[] = {
	{"list", TAKES_NONE, "GET", "/v1/models", print_list},
	{"pull", TAKES_URL, NULL, NULL, NULL},
	{"info", TAKES_URL, "GET", NULL, print_info},
	{"verify", MAY_TAKE_URL, NULL, NULL, NULL},
	{"rm", TAKES_URL, "DELETE", NULL, admin_message},
	{"gc", TAKES_NONE, "POST", "/v1/models/gc", admin_message},
	{"df", TAKES_NONE, "GET", "/v1/models/df", print_df},
};

static int alone(const struct args *a, size_t at)
{
	enum output output;
	struct admin ad;
	int rc = output_read(a, &output);

	if (rc == CLI_OK)
		rc = admin_open(&ad, a);
	if (rc != CLI_OK)
		return rc;
	rc = words[at].takes == TAKES_URL
		     ? models__pull(&ad, args_word(a, 1), output)
		     : models__verify(&ad, args_word(a, 1), output);
	admin_close(&ad);
	return rc;
}

int cmd_models(const struct args *a)
{
	const char *word = args_word(a, 0), *url = args_word(a, 1);

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		cleanup_free char *path = NULL;

		if (strcmp(word, words[i].word) != 0)
			continue;
		if (words[i].takes == TAKES_URL && !url)
			return term_fail(CLI_USAGE,
					 "a URL is missing; usage: soma models "
					 "%s URL",
					 word);
		if (words[i].takes == TAKES_NONE && url)
			return term_fail(CLI_USAGE,
					 "usage: soma models %s; '%s' is too "
					 "much",
					 word, url);
		if (!words[i].method)
			return alone(a, i);
		path = words[i].path ? mem_strdup(words[i].path) : path_of(url);
		return admin_show(a, words[i].method, path, NULL,
				  words[i].show);
	}
	return term_fail(CLI_USAGE, "usage: soma models list, pull URL, info "
				    "URL, verify [URL], rm URL, gc, or df");
}
