/* models_pull.c: `soma models pull`: a line that is redrawn while a model
 * comes. */
#include <stdlib.h>
#include <string.h>

#include "cli/models.h"
#include "cli/stream.h"
#include "cli/term.h"
#include "core/mem.h"
#include "spec/source.h"

enum { TURN_MS = 200 };

struct pull {
	struct models_progress progress;
	yyjson_doc *last; /* owned: its end */
};

static void on_line(void *data, yyjson_val *line)
{
	struct pull *p = data;
	const char *state = json_str(line, "state", "");
	cleanup_free char *text = NULL;
	size_t len;

	if (strcmp(state, "ready") != 0 && strcmp(state, "failed") != 0) {
		models__progress(&p->progress, line);
		return;
	}
	text = json_write_val(line, &len);
	yyjson_doc_free(p->last);
	p->last = yyjson_read(text, len, 0);
}

static int tell_end(struct pull *p, enum output output)
{
	yyjson_val *root = yyjson_doc_get_root(p->last);
	const char *message = json_str(root, "message", NULL);
	bool ready = strcmp(json_str(root, "state", ""), "ready") == 0;
	char bytes[32];

	if (output != OUTPUT_TABLE)
		output_print(output, root);
	if (!ready) {
		display_settle(&p->progress.d);
		return term_fail(CLI_FAILED, "%s",
				 message ? message : "no reason was given");
	}
	str_human_bytes((uint64_t)json_int(root, "bytes", 0), bytes);
	if (message)
		term_warn("%s; what is there is of an earlier pull", message);
	display_say(&p->progress.d, "%s is there: %s in %lld file%s",
		    p->progress.what, bytes,
		    (long long)json_int(root, "n_files", 0),
		    json_int(root, "n_files", 0) == 1 ? "" : "s");
	return CLI_OK;
}

static int ended(struct pull *p, struct admin *ad, struct stream *s,
		 enum output output)
{
	struct answer an = {.status = s->status};
	int rc;

	if (s->status >= 300) {
		an.json = yyjson_read(s->rest.data, s->rest.len, 0);
		rc = admin_refused(ad, &an);
		yyjson_doc_free(an.json);
		return rc;
	}
	if (p->last)
		return tell_end(p, output);
	display_settle(&p->progress.d);
	if (s->status == 0)
		return admin_unreachable(ad, s->curl, s->result, s->detail);
	return term_fail(CLI_FAILED, "the daemon ended meanwhile; pull again: "
				     "it goes on where it was");
}

int models__pull(struct admin *ad, const char *url, enum output output)
{
	cleanup_free char *body = models__body(url);
	cleanup_free char *shown = source_shown(url);
	struct pull p = {.progress.what = shown};
	CURLM *multi = curl_multi_init();
	struct stream s;
	int rc;

	display_init(&p.progress.d, output != OUTPUT_TABLE);
	stream_start(&s, multi, ad, "/v1/models", on_line, &p);
	s.headers =
		curl_slist_append(s.headers, "Content-Type: application/json");
	curl_easy_setopt(s.curl, CURLOPT_HTTPHEADER, s.headers);
	curl_easy_setopt(s.curl, CURLOPT_POSTFIELDS, body);
	while (!s.ended)
		streams_turn(multi, TURN_MS);
	rc = ended(&p, ad, &s, output);
	stream_stop(&s, multi);
	curl_multi_cleanup(multi);
	yyjson_doc_free(p.last);
	return rc;
}
