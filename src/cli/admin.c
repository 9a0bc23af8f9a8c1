#include "cli/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/term.h"
#include "core/mem.h"

enum { ANSWER_BYTES_MAX = 256 << 20, CONNECT_MS = 10000 };

int cli_read(FILE *from, const char *name, size_t max, char **ret,
	     size_t *ret_len, struct err *err)
{
	struct buf b;
	char piece[65536];
	size_t n;
	int rc = 0;

	buf_init(&b, max);
	while (rc == 0 && (n = fread(piece, 1, sizeof piece, from)) > 0)
		rc = buf_add(&b, piece, n);
	if (rc != 0) {
		char most[32];

		err_set(err, E_TOOBIG, "%s is larger than %s", name,
			str_human_bytes(max, most));
	} else if (ferror(from)) {
		rc = err_sys(err, errno, "cannot read %s", name);
	} else {
		*ret = buf_take(&b, ret_len);
	}
	buf_fini(&b);
	return rc;
}

char *admin_path(const char *collection, const char *name, const char *tail)
{
	char *escaped = curl_easy_escape(NULL, name, (int)strlen(name));
	char *path;

	if (!escaped)
		abort();
	path = mem_printf("/v1/%s/%s%s", collection, escaped, tail);
	curl_free(escaped);
	return path;
}

void answer_fini(struct answer *an)
{
	yyjson_doc_free(an->json);
	an->json = NULL;
	buf_fini(&an->body);
}

yyjson_val *answer_root(const struct answer *an)
{
	return yyjson_doc_get_root(an->json);
}

/* In the words of the system where it has some; curl's own otherwise. */
static const char *reason(CURL *curl, CURLcode why, const char *detail)
{
	long sys = 0;

	switch (why) {
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &sys);
		if (sys == ECONNREFUSED)
			return "connection refused";
		return sys != 0 ? strerror((int)sys) : "cannot connect";
	case CURLE_COULDNT_RESOLVE_HOST:
		return "unknown host";
	case CURLE_OPERATION_TIMEDOUT:
		return "no answer in time";
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return "it closed the connection";
	default:
		return *detail ? detail : curl_easy_strerror(why);
	}
}

int admin_unreachable(const struct admin *ad, CURL *curl, CURLcode why,
		      const char *detail)
{
	return term_fail(CLI_UNREACHABLE,
			 "no Soma daemon answers at %s (%s); start one with "
			 "'soma serve', or name another with --admin URL or "
			 "SOMA_ADMIN",
			 ad->url, reason(curl, why, detail));
}

int admin_refused(const struct admin *ad, const struct answer *an)
{
	yyjson_val *error = yyjson_obj_get(answer_root(an), "error");
	const char *message = json_str(error, "message", NULL);

	if (an->status == 401)
		return term_fail(
			CLI_FAILED,
			"the daemon at %s wants its token%s%s%s: run this as "
			"the user who runs the daemon, or set SOMA_TOKEN to "
			"the line in admin.token of its data directory",
			ad->url,
			ad->token ? ", and the one found is not it" : "",
			ad->token_trouble ? ": " : "",
			ad->token_trouble ? ad->token_trouble : "");
	if (!message)
		return term_fail(an->status == 404 ? CLI_NOTFOUND : CLI_FAILED,
				 "%s answered with status %ld: is it the admin "
				 "address of a Soma daemon?",
				 ad->url, an->status);
	if (an->status == 404 && strstr(message, "'/v1/"))
		return term_fail(CLI_UNREACHABLE,
				 "%s is where apis answer, not the admin "
				 "address of a Soma daemon (8002 unless "
				 "'soma serve --admin' said otherwise)",
				 ad->url);
	return term_fail(an->status == 404 ? CLI_NOTFOUND : CLI_FAILED, "%s",
			 message);
}

void admin_prepare(const struct admin *ad, CURL *curl, const char *path,
		   struct curl_slist **ret_headers)
{
	cleanup_free char *url = mem_printf("%s%s", ad->url, path);
	struct curl_slist *h = NULL;

	if (ad->token) {
		cleanup_free char *line =
			mem_printf("Authorization: Bearer %s", ad->token);

		h = curl_slist_append(h, line);
	}
	h = curl_slist_append(h, "Expect:");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "soma/" SOMA_VERSION);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	if (admin_is_local(ad->url))
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	*ret_headers = h;
}

static size_t on_body(char *data, size_t one, size_t len, void *to)
{
	(void)one;
	return buf_add(to, data, len) == 0 ? len : 0;
}

static int on_progress(void *data, curl_off_t down_all, curl_off_t down,
		       curl_off_t up_all, curl_off_t up)
{
	const struct body *body = data;

	(void)down_all;
	(void)down;
	(void)up_all;
	body->on_sent(body->sent_data, (uint64_t)up);
	return 0;
}

static void set_body(CURL *curl, const char *method, const struct body *body,
		     struct curl_slist **headers)
{
	const char *type = body && body->type ? body->type : "application/json";
	cleanup_free char *line = mem_printf("Content-Type: %s", type);

	if (strcmp(method, "GET") != 0)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	if (!body) {
		if (strcmp(method, "POST") == 0)
			curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
		return;
	}
	*headers = curl_slist_append(*headers, line);
	if (body->file) {
		curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(curl, CURLOPT_READDATA, body->file);
		curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
				 (curl_off_t)body->len);
	} else {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)body->len);
	}
	if (body->on_sent) {
		curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
		curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
		curl_easy_setopt(curl, CURLOPT_XFERINFODATA, body);
	}
}

CURLcode admin_try(struct admin *ad, const char *method, const char *path,
		   const struct body *body, struct answer *an)
{
	struct curl_slist *headers = NULL;
	CURLcode rc;

	*an = (struct answer){0};
	buf_init(&an->body, ANSWER_BYTES_MAX);
	curl_easy_reset(ad->curl);
	admin_prepare(ad, ad->curl, path, &headers);
	set_body(ad->curl, method, body, &headers);
	ad->detail[0] = '\0';
	curl_easy_setopt(ad->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(ad->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(ad->curl, CURLOPT_WRITEDATA, &an->body);
	curl_easy_setopt(ad->curl, CURLOPT_ERRORBUFFER, ad->detail);
	rc = curl_easy_perform(ad->curl);
	curl_slist_free_all(headers);
	curl_easy_getinfo(ad->curl, CURLINFO_RESPONSE_CODE, &an->status);
	/* A refusal may come before all of the body has gone. */
	if (rc != CURLE_OK && an->status >= 400 && an->body.len > 0)
		rc = CURLE_OK;
	if (rc == CURLE_OK)
		an->json = yyjson_read(an->body.data, an->body.len, 0);
	return rc;
}

int admin_request(struct admin *ad, const char *method, const char *path,
		  const struct body *body, struct answer *an)
{
	CURLcode rc = admin_try(ad, method, path, body, an);

	if (rc == CURLE_OK)
		return CLI_OK;
	answer_fini(an);
	return admin_unreachable(ad, ad->curl, rc, ad->detail);
}

int admin_call(struct admin *ad, const char *method, const char *path,
	       const struct body *body, struct answer *an)
{
	int rc = admin_request(ad, method, path, body, an);

	if (rc != CLI_OK || (an->status >= 200 && an->status < 300))
		return rc;
	rc = admin_refused(ad, an);
	answer_fini(an);
	return rc;
}

int admin_show(const struct args *a, const char *method, const char *path,
	       const struct body *body, void (*show)(yyjson_val *root))
{
	struct answer an;
	struct admin ad;
	enum output output;
	int rc = output_read(a, &output);

	if (rc == CLI_OK)
		rc = admin_open(&ad, a);
	if (rc != CLI_OK)
		return rc;
	rc = admin_call(&ad, method, path, body, &an);
	if (rc == CLI_OK) {
		if (output != OUTPUT_TABLE && an.json)
			output_print(output, answer_root(&an));
		else
			show(answer_root(&an));
		answer_fini(&an);
	}
	admin_close(&ad);
	return rc;
}

void admin_message(yyjson_val *root)
{
	puts(json_str(root, "message", "done"));
}

int admin_say(const struct args *a, const char *method, const char *collection,
	      const char *name, const char *tail)
{
	cleanup_free char *path = admin_path(collection, name, tail);

	return admin_show(a, method, path, NULL, admin_message);
}
