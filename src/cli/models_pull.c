/* models_pull.c: `soma models pull`: a line that is redrawn while a model
 * comes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/display.h"
#include "cli/models.h"
#include "cli/stream.h"
#include "cli/term.h"
#include "core/mem.h"

enum { TURN_MS = 200, PLAIN_MS = 5000, BAR = 24 };

struct pull {
	struct display d;
	const char *url;
	int64_t said_ms;  /* where lines stay: when the last was said */
	yyjson_doc *last; /* owned: its end */
};

/* "[######..................]" */
static void draw_bar(char out[BAR + 3], uint64_t done, uint64_t total)
{
	size_t full =
		total ? (size_t)((double)MIN(done, total) / (double)total * BAR)
		      : 0;

	out[0] = '[';
	for (size_t i = 0; i < BAR; i++)
		out[i + 1] = i < full ? '#' : '.';
	out[BAR + 1] = ']';
	out[BAR + 2] = 0;
}

/* "41%  1.2 GiB of 5.9 GiB  210 MiB/s  22 s left"; mem_printf. */
static char *numbers(yyjson_val *line)
{
	uint64_t done = (uint64_t)json_int(line, "done", 0);
	uint64_t total = (uint64_t)json_int(line, "total", 0);
	uint64_t rate = (uint64_t)json_int(line, "rate", 0);
	char is[32], of[32], per[32], left[32];

	str_human_bytes(done, is);
	str_human_bytes(total, of);
	str_human_bytes(rate, per);
	if (!rate || done > total)
		return mem_printf("%s of %s", is, of);
	return mem_printf(
		"%.0f%%  %s of %s  %s/s  %s left",
		total ? floor(100 * (double)done / (double)total) : 0, is, of,
		per,
		str_human_ms((int64_t)((total - done) / rate + 1) * 1000,
			     left));
}

static void show(struct pull *p, yyjson_val *line)
{
	const char *state = json_str(line, "state", "");
	int64_t now = term_now_ms();
	cleanup_free char *text = NULL;
	char bar[BAR + 3];

	if (json_int(line, "total", 0) <= 0) {
		display_progress(&p->d, "%s %s", state, p->url);
		return;
	}
	text = numbers(line);
	draw_bar(bar, (uint64_t)json_int(line, "done", 0),
		 (uint64_t)json_int(line, "total", 0));
	if (p->d.mode == DISPLAY_LIVE)
		display_progress(&p->d, "%s %s %s", state, bar, text);
	else if (now >= p->said_ms + PLAIN_MS)
		display_say(&p->d, "%s %s: %s", state, p->url, text);
	else
		return;
	p->said_ms = now;
}

static void on_line(void *data, yyjson_val *line)
{
	struct pull *p = data;
	const char *state = json_str(line, "state", "");
	cleanup_free char *text = NULL;
	size_t len;

	if (strcmp(state, "ready") != 0 && strcmp(state, "failed") != 0) {
		show(p, line);
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
		display_settle(&p->d);
		return term_fail(CLI_FAILED, "%s",
				 message ? message : "no reason was given");
	}
	str_human_bytes((uint64_t)json_int(root, "bytes", 0), bytes);
	if (message)
		term_warn("%s; what is there is of an earlier pull", message);
	display_say(&p->d, "%s is there: %s in %lld file%s", p->url, bytes,
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
	display_settle(&p->d);
	if (s->status == 0)
		return admin_unreachable(ad, s->curl, s->result, s->detail);
	return term_fail(CLI_FAILED, "the daemon ended meanwhile; pull again: "
				     "it goes on where it was");
}

char *models__body(const char *url)
{
	struct buf b;

	if (!url)
		return mem_strdup("");
	buf_init(&b, 1 << 20);
	buf_adds(&b, "{\"url\":");
	json_quote(&b, str_of(url));
	buf_addc(&b, '}');
	return buf_take(&b, NULL);
}

int models__pull(struct admin *ad, const char *url, enum output output)
{
	cleanup_free char *body = models__body(url);
	struct pull p = {.url = url};
	CURLM *multi = curl_multi_init();
	struct stream s;
	int rc;

	display_init(&p.d, output != OUTPUT_TABLE);
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
