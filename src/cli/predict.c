#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/admin.h"
#include "cli/output.h"
#include "cli/term.h"
#include "core/mem.h"

enum { PAYLOAD_BYTES_MAX = 1 << 30 };

struct payload {
	char *data; /* owned */
	size_t len;
	const char *type;
};

static bool is_json(const char *data, size_t len)
{
	yyjson_doc *doc = yyjson_read(data, len, 0);

	yyjson_doc_free(doc);
	return doc != NULL;
}

static bool ends_in(const char *name, const char *tail)
{
	size_t n = strlen(name), m = strlen(tail);

	return n >= m && strcasecmp(name + n - m, tail) == 0;
}

static int read_payload(struct payload *p, const char *what, struct err *err)
{
	struct stat st;
	FILE *f = NULL;
	int rc;

	if (!what || strcmp(what, "-") == 0) {
		if (!what && term_is_tty(0))
			return err_set(err, E_INVALID,
				       "what to send is missing: a FILE, JSON "
				       "written out, or '-' for standard "
				       "input");
		rc = cli_read(stdin, "standard input", PAYLOAD_BYTES_MAX,
			      &p->data, &p->len, err);
		what = "";
	} else if (stat(what, &st) == 0 && !S_ISDIR(st.st_mode)) {
		f = fopen(what, "re");
		if (!f)
			return err_sys(err, errno, "cannot read %s", what);
		rc = cli_read(f, what, PAYLOAD_BYTES_MAX, &p->data, &p->len,
			      err);
		fclose(f);
	} else if (is_json(what, strlen(what))) {
		p->data = mem_strdup(what);
		p->len = strlen(what);
		rc = 0;
	} else {
		return err_set(err, E_INVALID,
			       "'%.200s' is neither a file nor JSON (text is "
			       "JSON in quotes: '\"text\"')",
			       what);
	}
	if (rc != 0)
		return rc;
	if (is_json(p->data, p->len) || ends_in(what, ".json"))
		p->type = "application/json";
	else if (ends_in(what, ".txt"))
		p->type = "text/plain; charset=utf-8";
	else
		p->type = "application/octet-stream";
	return 0;
}

static size_t on_body(char *data, size_t one, size_t len, void *to)
{
	(void)one;
	return buf_add(to, data, len) == 0 ? len : 0;
}

/* As the model wrote it but indented: numbers keep their digits. */
static void print_body(const struct buf *b, const char *type)
{
	yyjson_doc *doc = NULL;

	if (type && strstr(type, "json"))
		doc = yyjson_read(b->data, b->len, YYJSON_READ_NUMBER_AS_RAW);
	if (doc)
		output_print(OUTPUT_JSON, yyjson_doc_get_root(doc));
	else if (b->len > 0)
		fwrite(b->data, 1, b->len, stdout);
	if (!doc && b->len > 0 && b->data[b->len - 1] != '\n' && term_is_tty(1))
		fputc('\n', stdout);
	yyjson_doc_free(doc);
}

static int print_refusal(const char *api, CURL *curl, long status,
			 const struct buf *b)
{
	cleanup_json yyjson_doc *doc = yyjson_read(b->data, b->len, 0);
	yyjson_val *error = yyjson_obj_get(yyjson_doc_get_root(doc), "error");
	const char *message = json_str(error, "message", NULL);
	const char *cause = json_str(error, "cause", NULL);
	struct curl_header *id;

	if (!message) {
		term_fail(CLI_FAILED, "%s answered with status %ld%s", api,
			  status, b->len > 0 ? ":" : "");
		fwrite(b->data, 1, b->len, stderr);
		if (b->len > 0 && b->data[b->len - 1] != '\n')
			fputc('\n', stderr);
	} else {
		term_fail(CLI_FAILED,
			  "%s answered with status %ld (%s): %s%s%s", api,
			  status, json_str(error, "code", "?"), message,
			  cause && !strstr(message, cause) ? ": " : "",
			  cause && !strstr(message, cause) ? cause : "");
	}
	if (curl_easy_header(curl, "X-Request-Id", 0, CURLH_HEADER, -1, &id) ==
	    CURLHE_OK)
		fprintf(stderr,
			"request id %s; 'soma logs %s' shows what the "
			"replica printed\n",
			id->value, api);
	return CLI_FAILED;
}

static int post(const char *api, const char *url, const struct payload *p)
{
	CURL *curl = curl_easy_init();
	cleanup_free char *line = mem_printf("Content-Type: %s", p->type);
	struct curl_slist *headers = curl_slist_append(NULL, line);
	char detail[CURL_ERROR_SIZE] = "";
	struct buf body;
	char *type = NULL;
	long status = 0;
	CURLcode rc;
	int code = CLI_OK;

	headers = curl_slist_append(headers, "Expect:");
	buf_init(&body, PAYLOAD_BYTES_MAX);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "soma/" SOMA_VERSION);
	if (admin_is_local(url))
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, p->data);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->len);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	if (rc != CURLE_OK)
		code = term_fail(CLI_UNREACHABLE,
				 "%s does not answer at %s: %s", api, url,
				 *detail ? detail : curl_easy_strerror(rc));
	else if (status >= 200 && status < 300)
		print_body(&body, type);
	else
		code = print_refusal(api, curl, status, &body);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	buf_fini(&body);
	return code;
}

int cmd_predict(const struct args *a)
{
	const char *api = args_word(a, 0);
	cleanup_free char *path = admin_path("apis", api, "");
	struct payload p = {0};
	struct answer an;
	struct admin ad;
	struct err err = {0};
	const char *url;
	int rc;

	if (read_payload(&p, args_word(a, 1), &err) != 0)
		return term_fail(CLI_USAGE, "%s", err.msg);
	rc = admin_open(&ad, a);
	if (rc == CLI_OK)
		rc = admin_call(&ad, "GET", path, NULL, &an);
	if (rc == CLI_OK) {
		url = json_str(answer_root(&an), "url", NULL);
		rc = url ? post(api, url, &p)
			 : term_fail(CLI_FAILED, "the daemon gave no URL of %s",
				     api);
		answer_fini(&an);
	}
	admin_close(&ad);
	free(p.data);
	return rc;
}
