/* Where the daemon is, and the token that it wants. */

#include "cli/admin.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "cli/term.h"
#include "core/mem.h"

#define ADMIN_DEFAULT "http://127.0.0.1:8002"

enum { TOKEN_BYTES_MAX = 4096, INFO_BYTES_MAX = 64 << 10 };

static bool host_is_local(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
	       strcmp(host, "[::1]") == 0 || strncmp(host, "127.", 4) == 0;
}

/* A part of a URL, for curl_free; NULL when it is no URL. */
static char *url_part(const char *url, CURLUPart part)
{
	CURLU *u = curl_url();
	char *text = NULL;

	if (!u)
		abort();
	if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK)
		curl_url_get(u, part, &text, CURLU_DEFAULT_PORT);
	curl_url_cleanup(u);
	return text;
}

bool admin_is_local(const char *url)
{
	char *host = url_part(url, CURLUPART_HOST);
	bool local = host && host_is_local(host);

	curl_free(host);
	return local;
}

static bool same_host(const char *a, const char *b)
{
	char *x = url_part(a, CURLUPART_HOST), *y = url_part(b, CURLUPART_HOST);
	bool same = x && y && strcasecmp(x, y) == 0;

	curl_free(x);
	curl_free(y);
	return same;
}

static const char *home(void)
{
	const char *dir = getenv("HOME");
	struct passwd *pw;

	if (dir && *dir)
		return dir;
	pw = getpwuid(getuid());
	return pw ? pw->pw_dir : "/";
}

static char *read_small(const char *path, size_t max, struct err *err)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t len;

	if (!f) {
		err_sys(err, errno, "cannot read %s", path);
		return NULL;
	}
	cli_read(f, path, max, &text, &len, err);
	fclose(f);
	return text;
}

static void set_trouble(struct admin *ad, const struct err *err)
{
	free(ad->token_trouble);
	ad->token_trouble = mem_strdup(err->msg);
}

static void read_token(struct admin *ad, const char *path)
{
	struct err err = {0};
	char *text = read_small(path, TOKEN_BYTES_MAX, &err);

	if (!text) {
		set_trouble(ad, &err);
		return;
	}
	text[strcspn(text, "\r\n")] = '\0';
	ad->token = text;
}

/* The daemon leaves a note named by its port for its own user. The token goes
 * to this machine, or to the address that the note names, and nowhere else. */
static void find_token(struct admin *ad)
{
	const char *given = getenv("SOMA_TOKEN");
	char *port = url_part(ad->url, CURLUPART_PORT);
	const char *config = getenv("XDG_CONFIG_HOME");
	cleanup_free char *dir = config && *config
					 ? mem_strdup(config)
					 : mem_printf("%s/.config", home());
	cleanup_free char *path =
		mem_printf("%s/soma/daemons/%s.json", dir, port ? port : "80");
	cleanup_free char *text = NULL;
	cleanup_json yyjson_doc *note = NULL;
	struct err err = {0};
	const char *file, *url;

	curl_free(port);
	if (given && *given) {
		ad->token = mem_strdup(given);
		return;
	}
	text = read_small(path, INFO_BYTES_MAX, &err);
	if (text)
		note = json_parse(text, strlen(text), &err);
	if (!note) {
		set_trouble(ad, &err);
		return;
	}
	file = json_str(yyjson_doc_get_root(note), "token_file", NULL);
	url = json_str(yyjson_doc_get_root(note), "admin", "");
	if (file && (admin_is_local(ad->url) || same_host(ad->url, url)))
		read_token(ad, file);
}

static bool url_ok(const char *url)
{
	char *scheme = url_part(url, CURLUPART_SCHEME);
	bool ok = scheme &&
		  (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);

	curl_free(scheme);
	return ok;
}

int admin_open(struct admin *ad, const struct args *a)
{
	const char *url = args_value(a, "admin");
	size_t len;

	*ad = (struct admin){0};
	if (!url)
		url = getenv("SOMA_ADMIN");
	if (!url || !*url)
		url = ADMIN_DEFAULT;
	ad->url = strstr(url, "://") ? mem_strdup(url)
				     : mem_printf("http://%s", url);
	len = strlen(ad->url);
	while (len > 0 && ad->url[len - 1] == '/')
		ad->url[--len] = '\0';
	if (!url_ok(ad->url)) {
		term_fail(CLI_USAGE,
			  "'%s' is no address of a daemon: --admin and "
			  "SOMA_ADMIN look like " ADMIN_DEFAULT,
			  url);
		admin_close(ad);
		return CLI_USAGE;
	}
	find_token(ad);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	ad->curl = curl_easy_init();
	if (!ad->curl)
		abort();
	return CLI_OK;
}

void admin_close(struct admin *ad)
{
	if (ad->curl) {
		curl_easy_cleanup(ad->curl);
		curl_global_cleanup();
	}
	free(ad->url);
	free(ad->token);
	free(ad->token_trouble);
	*ad = (struct admin){0};
}
