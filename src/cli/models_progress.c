/* models_progress.c: a line that is redrawn while a model comes or is read. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/models.h"
#include "cli/stream.h"
#include "cli/term.h"
#include "core/mem.h"

enum { PLAIN_MS = 5000, TURN_MS = 200, BAR = 24 };

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

static void show(struct models_progress *p, yyjson_val *line)
{
	const char *state = json_str(line, "state", "");
	int64_t now = term_now_ms();
	cleanup_free char *text = NULL;
	char bar[BAR + 3];

	if (json_int(line, "total", 0) <= 0) {
		display_progress(&p->d, "%s %s", state, p->what);
		return;
	}
	text = numbers(line);
	draw_bar(bar, (uint64_t)json_int(line, "done", 0),
		 (uint64_t)json_int(line, "total", 0));
	if (p->d.mode == DISPLAY_LIVE)
		display_progress(&p->d, "%s %s %s", state, bar, text);
	else if (now >= p->said_ms + PLAIN_MS)
		display_say(&p->d, "%s %s: %s", state, p->what, text);
	else
		return;
	p->said_ms = now;
}

static void on_line(void *data, yyjson_val *line)
{
	struct models_progress *p = data;
	cleanup_free char *text = NULL;
	size_t len;

	if (!p->is_end(json_str(line, "state", ""))) {
		show(p, line);
		return;
	}
	text = json_write_val(line, &len);
	yyjson_doc_free(p->last);
	p->last = yyjson_read(text, len, 0);
}

static int tell_no_end(struct admin *ad, struct stream *s, const char *again)
{
	struct answer an = {.status = s->status};
	int rc;

	if (s->status == 0)
		return admin_unreachable(ad, s->curl, s->result, s->detail);
	if (s->status < 300)
		return term_fail(CLI_FAILED, "the daemon ended meanwhile; %s",
				 again);
	an.json = yyjson_read(s->rest.data, s->rest.len, 0);
	rc = admin_refused(ad, &an);
	yyjson_doc_free(an.json);
	return rc;
}

int models__follow(struct models_progress *p, struct admin *ad,
		   const char *path, const char *body, enum output output,
		   const char *again)
{
	CURLM *multi = curl_multi_init();
	struct stream s;
	int rc = CLI_OK;

	display_init(&p->d, output != OUTPUT_TABLE);
	stream_start(&s, multi, ad, path, on_line, p);
	s.headers =
		curl_slist_append(s.headers, "Content-Type: application/json");
	curl_easy_setopt(s.curl, CURLOPT_HTTPHEADER, s.headers);
	curl_easy_setopt(s.curl, CURLOPT_POSTFIELDS, body);
	while (!s.ended)
		streams_turn(multi, TURN_MS);
	if (!p->last || s.status >= 300) {
		display_settle(&p->d);
		rc = tell_no_end(ad, &s, again);
	}
	stream_stop(&s, multi);
	curl_multi_cleanup(multi);
	return rc;
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
