/* Request bodies in a Content-Encoding. */
#include "worker.h"

#include <stdio.h>

#include "core/err.h"
#include "core/inflate.h"

enum {
	FREE_BYTES = 64 << 20, /* a body may unpack to this much in any case */
	RATIO_MAX = 20,	       /* and to this many times itself */
	HEAD_ROOM = 32,
};

static uint64_t limit_of(const struct request *r)
{
	uint64_t ratio = (uint64_t)r->body.len * RATIO_MAX;

	return MIN((uint64_t)worker.max_body, MAX(ratio, (uint64_t)FREE_BYTES));
}

static int inflate_all(struct request *r, enum inflate_coding coding,
		       struct err *err)
{
	struct inflate f;
	struct buf out;
	int rc;

	inflate_init(&f, coding, limit_of(r));
	buf_init(&out, worker.max_body);
	rc = inflate_feed(&f, r->body.data, r->body.len, &out, err);
	if (!rc)
		rc = inflate_end(&f, err);
	inflate_fini(&f);
	if (rc) {
		buf_fini(&out);
		return rc;
	}
	buf_fini(&r->body);
	r->body = out;
	return 0;
}

/* The head as if the body had come as it is now. */
static void mend_head(struct request *r)
{
	uint32_t n = 0;
	char length[24];
	int len = snprintf(length, sizeof length, "%zu", r->body.len);

	for (uint32_t i = 0; i < r->n_headers; i++) {
		struct header h = r->headers[i];
		struct str name = {r->head.data + h.name, h.name_len};

		if (str_eq(name, STR("content-encoding")))
			continue;
		if (str_eq(name, STR("content-length"))) {
			h.value = (uint32_t)r->head.len;
			h.value_len = (uint32_t)len;
		}
		r->headers[n++] = h;
	}
	r->n_headers = n;
	r->head.max += HEAD_ROOM;
	buf_add(&r->head, length, (size_t)len);
}

int unpack_body(struct request *r, int *ret_status, struct err *err)
{
	enum inflate_coding coding;
	struct str value;
	int rc;

	request_header(r, STR("content-encoding"), &value);
	if (inflate_coding(value, &coding, err)) {
		*ret_status = 415;
		return err->code;
	}
	if (coding == INFLATE_NONE || !r->body.len)
		return 0;
	rc = inflate_all(r, coding, err);
	if (rc) {
		*ret_status = err_http(rc);
		return rc;
	}
	mend_head(r);
	return 0;
}
