#include "serve/warmup.h"

#include <ctype.h>
#include <stdio.h>

#include "core/mem.h"
#include "serve/differ.h"
#include "serve/told.h"
#include "spec/spec.h"

enum {
	SHOWN = 200,	 /* bytes of an answer that people are shown */
	LATE_FACTOR = 4, /* How long one really takes is worth to know: it is
			  * waited for that much longer than it may take, ... */
	LATE_MS = 1000,	 /* ... this at least. */
};

/* ---- what there is to ask ---- */

static char *headers_of(yyjson_val *item)
{
	yyjson_val *headers = yyjson_obj_get(item, "headers"), *key, *value;
	const char *type = json_str(item, "content_type", NULL);
	struct buf b;
	size_t i, n;

	buf_init(&b, 1 << 24);
	buf_adds(&b, "X-Soma-Warmup: 1\r\n");
	if (yyjson_obj_get(item, "body"))
		type = "application/json";
	if (type)
		buf_addf(&b, "Content-Type: %s\r\n", type);
	yyjson_obj_foreach(headers, i, n, key, value) buf_addf(
		&b, "%s: %s\r\n", yyjson_get_str(key), yyjson_get_str(value));
	return buf_take(&b, NULL);
}

static void read_request(struct warmup_request *q, yyjson_val *item)
{
	yyjson_val *body = yyjson_obj_get(item, "body");

	q->method = json_str(item, "method", "GET");
	q->path = json_str(item, "path", "/");
	q->file = json_str(item, "body_file", NULL);
	q->body = body ? json_write_val(body, NULL) : NULL;
	q->headers = headers_of(item);
	q->times = (unsigned)json_int(item, "times", 1);
	q->status = (unsigned)json_int(item, "status", 0);
	q->expect = yyjson_obj_get(item, "expect");
	q->tolerance = json_num(item, "tolerance", SPEC_TOLERANCE);
	q->within_ms = (uint32_t)json_int(item, "within_ms", 0);
}

void warmup_init(struct warmup *w, const char *json)
{
	yyjson_val *list, *item;
	size_t i, n;

	*w = (struct warmup){0};
	if (!json)
		return;
	w->doc = json_parse(json, strlen(json), NULL);
	list = yyjson_obj_get(yyjson_doc_get_root(w->doc), "requests");
	w->requests =
		mem_alloc((yyjson_arr_size(list) + 1) * sizeof *w->requests);
	yyjson_arr_foreach(list, i, n, item)
		read_request(&w->requests[w->n++], item);
}

void warmup_fini(struct warmup *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		free(w->requests[i].body);
		free(w->requests[i].headers);
	}
	free(w->requests);
	yyjson_doc_free(w->doc);
	*w = (struct warmup){0};
}

struct http_question warmup_question(const struct warmup_request *q)
{
	uint32_t most = q->within_ms * LATE_FACTOR;

	return (struct http_question){
		.method = q->method,
		.path = q->path,
		.headers = q->headers,
		.body = str_of(q->body),
		.keep = q->expect ? WARMUP_ANSWER_MAX : SHOWN,
		.timeout_ms =
			q->within_ms ? MAX(most, q->within_ms + LATE_MS) : 0,
	};
}

/* ---- what is wrong with an answer ---- */

/* The beginning of a body, in one line; free() it. */
static char *shown(const struct http_told *t)
{
	struct str s = {t->body.p, MIN(t->body.n, (size_t)SHOWN)};

	return told_loading(s);
}

static char *judge_status(const struct warmup_request *q,
			  const struct http_told *t)
{
	cleanup_free char *text = NULL;
	char wanted[16] = "2xx";

	if (q->status ? t->status == q->status
		      : t->status >= 200 && t->status < 300)
		return NULL;
	if (q->status)
		snprintf(wanted, sizeof wanted, "%u", q->status);
	text = shown(t);
	return mem_printf("was answered with %u, not %s%s%s", t->status, wanted,
			  *text ? ": " : "", text);
}

static bool is_number(const char *json)
{
	return isdigit((unsigned char)*json) || *json == '-';
}

static char *differs(const struct warmup_request *q, const struct difference *d)
{
	cleanup_free char *within =
		is_number(d->a) && is_number(d->b)
			? mem_printf(" (tolerance %g)", q->tolerance)
			: mem_strdup("");

	return mem_printf("was answered otherwise: its answer differs%s%s: %s, "
			  "expected %s%s",
			  *d->path ? " at " : "", d->path, d->a, d->b, within);
}

static char *judge_body(const struct warmup_request *q,
			const struct http_told *t)
{
	cleanup_json yyjson_doc *doc = NULL;
	cleanup_free char *text = NULL;
	struct difference d;

	if (!q->expect)
		return NULL;
	if (t->size > t->body.n)
		return mem_strdup("was answered with more than 4 MiB, which "
				  "are not compared: leave expect.body out");
	/* A text may come as it is. */
	if (yyjson_is_str(q->expect) &&
	    str_eq(t->body, (struct str){yyjson_get_str(q->expect),
					 yyjson_get_len(q->expect)}))
		return NULL;
	doc = json_parse(t->body.p, t->body.n, NULL);
	if (doc)
		return values_differ(yyjson_doc_get_root(doc), q->expect,
				     q->tolerance, &d)
			       ? differs(q, &d)
			       : NULL;
	text = shown(t);
	if (yyjson_is_str(q->expect))
		return mem_printf("was answered with '%s', expected '%.*s'",
				  text, SHOWN, yyjson_get_str(q->expect));
	return mem_printf("was answered with what is no JSON: '%s'", text);
}

static char *judge_time(const struct warmup_request *q,
			const struct http_told *t)
{
	int64_t took = (int64_t)(t->took_ns / 1000000);
	char text[32], most[32];

	if (!q->within_ms || took <= q->within_ms)
		return NULL;
	return mem_printf("took %s, more than within: %s",
			  str_human_ms(took, text),
			  str_human_ms(q->within_ms, most));
}

char *warmup_judge(const struct warmup_request *q, const struct http_told *told)
{
	char after[32], most[32], *why;

	if (!told->status)
		return mem_printf(
			"was not answered in %s, more than within: %s",
			str_human_ms((int64_t)(told->took_ns / 1000000), after),
			str_human_ms(q->within_ms, most));
	why = judge_status(q, told);
	if (!why)
		why = judge_body(q, told);
	return why ? why : judge_time(q, told);
}
