/* Any bytes as a packed body, in pieces of any size: no crash, never beyond the
 * limit, and the pieces make no difference. The first byte is the coding and
 * the limit, the second the size of the pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/inflate.h"
#include "core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int unpack(enum inflate_coding coding, uint64_t max, const uint8_t *data,
		  size_t size, size_t piece, struct buf *out)
{
	struct err err = {0};
	struct inflate f;
	int rc = 0;

	inflate_init(&f, coding, max);
	for (size_t at = 0; at < size && rc == 0; at += piece)
		rc = inflate_feed(&f, data + at, MIN(piece, size - at), out,
				  &err);
	if (rc == 0)
		rc = inflate_end(&f, &err);
	inflate_fini(&f);
	/* What is wrong has words; what is good has none. */
	if ((rc != 0) != (err.msg[0] != 0) || out->len > max)
		abort();
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum inflate_coding coding;
	struct buf whole, pieces;
	uint64_t max;
	int rc;

	if (size < 2)
		return 0;
	coding = data[0] & 1 ? INFLATE_GZIP : INFLATE_DEFLATE;
	max = 1ull << (data[0] >> 1 & 15);
	buf_init(&whole, 1 << 20);
	buf_init(&pieces, 1 << 20);
	rc = unpack(coding, max, data + 2, size - 2, size, &whole);
	if (unpack(coding, max, data + 2, size - 2, (size_t)data[1] + 1,
		   &pieces) != rc)
		abort();
	if (rc == 0 &&
	    (whole.len != pieces.len ||
	     (whole.len && memcmp(whole.data, pieces.data, whole.len) != 0)))
		abort();
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
