/* warmup.h: the requests that a revision's replicas answer before they are
 * ready, and what is wrong with an answer. */
#ifndef SERVE_WARMUP_H
#define SERVE_WARMUP_H

#include <stddef.h>
#include <stdint.h>

#include "core/json.h"
#include "http/proxy.h"

enum {
	WARMUP_FILE_MAX = 16 << 20,
	WARMUP_ANSWER_MAX = 4 << 20, /* of one that is compared */
};

struct warmup_request {
	const char *method, *path; /* borrowed from the document */
	const char *file;	   /* of the project, its body; or NULL */
	char *body;		   /* owned: JSON, or NULL */
	char *headers;		   /* owned: lines */
	unsigned times;
	unsigned status;    /* 0: 200 to 299 */
	yyjson_val *expect; /* NULL: any body */
	double tolerance;
	uint32_t within_ms; /* 0: no limit of its own */
};

struct warmup {
	yyjson_doc *doc;		 /* owned, or NULL */
	struct warmup_request *requests; /* owned */
	unsigned n;
};

/* From a spec's warmup_json, which may be NULL. */
void warmup_init(struct warmup *w, const char *json);
void warmup_fini(struct warmup *w);

/* What http_ask is to be told; body_file's content is the caller's to set. */
struct http_question warmup_question(const struct warmup_request *q);

/* What is wrong with an answer, to be read behind the request's name; NULL:
 * nothing; free() it. Not for one that never came, unless it is late. */
char *warmup_judge(const struct warmup_request *q,
		   const struct http_told *told);

#endif
