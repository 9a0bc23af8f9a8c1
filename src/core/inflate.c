#include "core/inflate.h"

#include <limits.h>
#include <zlib.h>

#include "core/mem.h"

enum {
	STEP_MIN = 4 * 1024, /* room made for one step of zlib */
	STEP_MAX = 256 * 1024,
	BITS = 15, /* window: what senders may use */
	GZIP_BITS = BITS + 16,
	FREE_BYTES = 64 << 20, /* a body may unpack to this much in any case */
	RATIO_MAX = 20,	       /* and to this many times itself */
};

static const char *name_of(const struct inflate *f)
{
	return f->coding == INFLATE_GZIP ? "gzip" : "deflate";
}

int inflate_coding(struct str value, enum inflate_coding *ret, struct err *err)
{
	static const struct {
		struct str word;
		enum inflate_coding coding;
	} known[] = {
		{{"", 0}, INFLATE_NONE},
		{{"identity", 8}, INFLATE_NONE},
		{{"gzip", 4}, INFLATE_GZIP},
		{{"x-gzip", 6}, INFLATE_GZIP},
		{{"deflate", 7}, INFLATE_DEFLATE},
	};

	value = str_trim(value);
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_ieq(value, known[i].word)) {
			*ret = known[i].coding;
			return 0;
		}
	return err_set(err, E_ENCODING,
		       "Content-Encoding '%.*s' is not one that is unpacked "
		       "here: send the body as gzip, as deflate, or without a "
		       "Content-Encoding",
		       (int)MIN(value.n, 60u), value.p);
}

void inflate_init(struct inflate *f, enum inflate_coding coding, uint64_t max)
{
	*f = (struct inflate){.coding = coding, .max = max};
}

void inflate_fini(struct inflate *f)
{
	if (f->z)
		inflateEnd(f->z);
	free(f->z);
	f->z = NULL;
}

static int malformed(struct inflate *f, const char *why, struct err *err)
{
	f->failed = true;
	return err_set(err, E_INVALID,
		       "the body is not valid %s: %s, in its first %llu bytes",
		       name_of(f), why, (unsigned long long)f->in);
}

static int too_large(struct inflate *f, uint64_t limit, struct err *err)
{
	char human[32];

	f->failed = true;
	return err_set(err, E_TOOBIG,
		       "the %s body unpacks to more than %s, the most that is "
		       "taken",
		       name_of(f), str_human_bytes(limit, human));
}

/* Some senders say deflate and leave zlib's two bytes out. Bare deflate does
 * not begin like them: as a stored block these bits would have padding set. */
static int bits_of(const struct inflate *f)
{
	unsigned cmf = f->head[0], flg = f->head[1];

	if (f->coding == INFLATE_GZIP)
		return GZIP_BITS;
	return (cmf & 15) == Z_DEFLATED && (cmf << 8 | flg) % 31 == 0 ? BITS
								      : -BITS;
}

static void start(struct inflate *f)
{
	f->z = mem_alloc(sizeof *f->z);
	/* It can fail for lack of a few KiB alone. */
	if (inflateInit2(f->z, bits_of(f)) != Z_OK)
		abort();
}

/* One call of zlib, into what room there is. *ret_more: call again. */
static int step(struct inflate *f, struct buf *out, bool *ret_more,
		struct err *err)
{
	uint64_t limit = MIN(f->max - f->out, (uint64_t)(out->max - out->len));
	unsigned char beyond;
	/* A byte of the buffer's memory is kept for its NUL. */
	size_t there = out->cap > out->len ? out->cap - out->len - 1 : 0;
	size_t room = MIN(MAX(there, (size_t)STEP_MIN), (size_t)STEP_MAX);
	int rc;

	room = MIN(room, limit);
	if (room)
		buf_reserve(out, room);
	/* At the limit there may be the end of the stream, and not a byte. */
	f->z->next_out = room ? (unsigned char *)out->data + out->len : &beyond;
	f->z->avail_out = room ? (uInt)room : 1;
	rc = inflate(f->z, Z_NO_FLUSH);
	if (room) {
		size_t n = room - f->z->avail_out;

		out->len += n;
		f->out += n;
	} else if (f->z->avail_out == 0) {
		return too_large(f, f->out, err);
	}
	*ret_more = false;
	switch (rc) {
	case Z_STREAM_END:
		f->ended = true;
		return 0;
	case Z_OK:
		*ret_more = f->z->avail_in > 0 || f->z->avail_out == 0;
		return 0;
	case Z_BUF_ERROR: /* nothing to do without more input */
		return 0;
	case Z_MEM_ERROR:
		abort();
	case Z_NEED_DICT:
		return malformed(f, "it needs a dictionary", err);
	default:
		return malformed(f, f->z->msg ? f->z->msg : "broken data", err);
	}
}

static int unpack(struct inflate *f, const unsigned char *p, size_t n,
		  struct buf *out, struct err *err)
{
	bool more;
	int rc;

	while (n > 0) {
		uInt take = (uInt)MIN(n, (size_t)UINT_MAX);

		/* gzip: one member behind the other is the same as one. */
		if (f->ended && f->coding != INFLATE_GZIP)
			return malformed(f, "bytes follow its end", err);
		if (f->ended)
			inflateReset(f->z);
		f->ended = false;
		f->z->next_in = (unsigned char *)(uintptr_t)p;
		f->z->avail_in = take;
		do {
			rc = step(f, out, &more, err);
			if (rc)
				return rc;
		} while (more);
		p += take - f->z->avail_in;
		n -= take - f->z->avail_in;
	}
	return 0;
}

int inflate_feed(struct inflate *f, const void *data, size_t len,
		 struct buf *out, struct err *err)
{
	const unsigned char *p = data;
	int rc;

	if (f->failed)
		return err_set(err, E_INVALID, "the body was refused before");
	f->in += len;
	if (!f->z) {
		while (f->n_head < sizeof f->head && len > 0) {
			f->head[f->n_head++] = *p++;
			len--;
		}
		if (f->n_head < sizeof f->head)
			return 0;
		start(f);
		rc = unpack(f, f->head, sizeof f->head, out, err);
		if (rc)
			return rc;
	}
	return unpack(f, p, len, out, err);
}

int inflate_end(struct inflate *f, struct err *err)
{
	if (f->ended && !f->failed)
		return 0;
	return err_set(err, E_INVALID,
		       "the %s body ends too early, after %llu bytes: send all "
		       "of it",
		       name_of(f), (unsigned long long)f->in);
}

int inflate_body(enum inflate_coding coding, struct str packed, uint64_t most,
		 struct buf *ret, struct err *err)
{
	uint64_t ratio = (uint64_t)packed.n * RATIO_MAX;
	struct inflate f;
	struct buf out;
	int rc;

	inflate_init(&f, coding, MIN(most, MAX(ratio, (uint64_t)FREE_BYTES)));
	buf_init(&out, (size_t)MIN(most, (uint64_t)SIZE_MAX / 4));
	rc = inflate_feed(&f, packed.p, packed.n, &out, err);
	if (!rc)
		rc = inflate_end(&f, err);
	inflate_fini(&f);
	if (rc)
		buf_fini(&out);
	else
		*ret = out;
	return rc;
}
