/* inflate.h: unpacks gzip and deflate bodies piece by piece, never beyond a
 * limit. */
#ifndef CORE_INFLATE_H
#define CORE_INFLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/str.h"

enum inflate_coding {
	INFLATE_NONE, /* the body is what it is */
	INFLATE_GZIP,
	INFLATE_DEFLATE, /* zlib's format; bare deflate is taken, too */
};

struct inflate {
	struct z_stream_s *z; /* owned; NULL before the first byte */
	enum inflate_coding coding;
	uint64_t in;	       /* bytes fed so far */
	uint64_t out;	       /* bytes unpacked so far */
	uint64_t max;	       /* of those */
	unsigned char head[2]; /* private: the first bytes, till both are in */
	unsigned n_head;
	bool ended;  /* private: the last byte fed ended a whole stream */
	bool failed; /* private: feed said what is wrong */
};

/* What the value of a Content-Encoding header asks for: "gzip", "x-gzip",
 * "deflate", "identity" or nothing, in any case. E_ENCODING for others, several
 * codings on top of each other among them. */
int inflate_coding(struct str value, enum inflate_coding *ret, struct err *err);

/* coding: not INFLATE_NONE. max: what the body may unpack to in all; with so
 * much the stream is still good, with a byte more it is E_TOOBIG. */
void inflate_init(struct inflate *f, enum inflate_coding coding, uint64_t max);
void inflate_fini(struct inflate *f);

/* Unpacks the next bytes of the body and appends them to `out`, whose own
 * maximum counts like `max`. What is there may be taken out between two
 * calls. E_INVALID: not of that coding (or bytes follow its end); E_TOOBIG:
 * over the limit, found before more than that is in memory. After an error
 * only inflate_fini is left. */
int inflate_feed(struct inflate *f, const void *data, size_t len,
		 struct buf *out, struct err *err);

/* The body is over. E_INVALID when its stream is not. */
int inflate_end(struct inflate *f, struct err *err);

/* A whole body at once. It may unpack to 64 MiB, or to 20 times itself, but
 * never to more than `most`. On success the text is the caller's (buf_fini), on
 * failure there is none. */
int inflate_body(enum inflate_coding coding, struct str packed, uint64_t most,
		 struct buf *ret, struct err *err);

#endif
