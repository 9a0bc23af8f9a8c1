/* models_verify.c: `soma models verify`: what was fetched is read again. */
#include <stdlib.h>
#include <string.h>

#include "cli/models.h"
#include "cli/stream.h"
#include "cli/term.h"
#include "core/mem.h"
#include "spec/source.h"

enum { TURN_MS = 200 };

struct verify {
	struct models_progress progress;
	yyjson_doc *last; /* owned: what was found */
};

static void print_verified(yyjson_val *root)
{
	yyjson_val *model;
	size_t i, n;
	char text[32];

	yyjson_arr_foreach(yyjson_obj_get(root, "models"), i, n, model)
	{
		const char *bad = json_str(model, "bad", NULL);
		cleanup_free char *url =
			source_shown(json_str(model, "url", "-"));

		if (bad)
			term_fail(0,
				  "%s: %s is not what was fetched; 'soma "
				  "models pull %s' fetches it again",
				  url, bad, url);
		else
			printf("%s: whole, %s\n", url,
			       str_human_bytes(
				       (uint64_t)json_int(model, "bytes", 0),
				       text));
	}
}

static void on_line(void *data, yyjson_val *line)
{
	struct verify *v = data;
	cleanup_free char *text = NULL;
	size_t len;

	if (strcmp(json_str(line, "state", ""), "verifying") == 0) {
		models__progress(&v->progress, line);
		return;
	}
	text = json_write_val(line, &len);
	yyjson_doc_free(v->last);
	v->last = yyjson_read(text, len, 0);
}

static int tell_end(const struct verify *v, enum output output)
{
	cleanup_json_mut yyjson_mut_doc *doc =
		yyjson_doc_mut_copy(v->last, NULL);
	yyjson_val *root = yyjson_doc_get_root(v->last);
	cleanup_json yyjson_doc *shown = NULL;
	const char *message = json_str(root, "message", NULL);

	if (message)
		return term_fail(CLI_FAILED, "%s", message);
	yyjson_mut_obj_remove_key(yyjson_mut_doc_get_root(doc), "state");
	shown = yyjson_mut_doc_imut_copy(doc, NULL);
	if (output != OUTPUT_TABLE)
		output_print(output, yyjson_doc_get_root(shown));
	else
		print_verified(root);
	return json_bool(root, "whole", false) ? CLI_OK : CLI_FAILED;
}

static int ended(struct verify *v, struct admin *ad, struct stream *s,
		 enum output output)
{
	struct answer an = {.status = s->status};
	int rc;

	display_settle(&v->progress.d);
	if (s->status >= 300) {
		an.json = yyjson_read(s->rest.data, s->rest.len, 0);
		rc = admin_refused(ad, &an);
		yyjson_doc_free(an.json);
		return rc;
	}
	if (v->last)
		return tell_end(v, output);
	if (s->status == 0)
		return admin_unreachable(ad, s->curl, s->result, s->detail);
	return term_fail(CLI_FAILED,
			 "the daemon ended meanwhile; verify again");
}

int models__verify(struct admin *ad, const char *url, enum output output)
{
	cleanup_free char *body = models__body(url);
	cleanup_free char *shown = url ? source_shown(url) : NULL;
	struct verify v = {.progress.what = shown ? shown : "all models"};
	CURLM *multi = curl_multi_init();
	struct stream s;
	int rc;

	display_init(&v.progress.d, output != OUTPUT_TABLE);
	stream_start(&s, multi, ad, "/v1/models/verify?progress=true", on_line,
		     &v);
	s.headers =
		curl_slist_append(s.headers, "Content-Type: application/json");
	curl_easy_setopt(s.curl, CURLOPT_HTTPHEADER, s.headers);
	curl_easy_setopt(s.curl, CURLOPT_POSTFIELDS, body);
	while (!s.ended)
		streams_turn(multi, TURN_MS);
	rc = ended(&v, ad, &s, output);
	stream_stop(&s, multi);
	curl_multi_cleanup(multi);
	yyjson_doc_free(v.last);
	return rc;
}
