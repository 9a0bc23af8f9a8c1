/* Request bodies in a Content-Encoding. */
#include "worker.h"

#include <stdio.h>

#include "core/err.h"
#include "core/inflate.h"

enum { HEAD_ROOM = 32 };

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

int unpack_body(struct request *r, struct err *err)
{
	enum inflate_coding coding;
	struct str value;
	struct buf out;
	int rc;

	request_header(r, STR("content-encoding"), &value);
	rc = inflate_coding(value, &coding, err);
	if (rc || coding == INFLATE_NONE || !r->body.len)
		return rc;
	rc = inflate_body(coding, (struct str){r->body.data, r->body.len},
			  worker.max_body, &out, err);
	if (rc)
		return rc;
	buf_fini(&r->body);
	r->body = out;
	mend_head(r);
	return 0;
}
