#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <zlib.h>

#include "core/inflate.h"
#include "core/mem.h"

enum { GZIP = 15 + 16, ZLIB = 15, BARE = -15 };

/* What a client would send for n bytes of data. */
static struct buf packed(const void *data, size_t n, int bits)
{
	z_stream z = {0};
	struct buf b;

	buf_init(&b, SIZE_MAX / 2);
	assert_int_equal(
		deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY),
		Z_OK);
	buf_reserve(&b, deflateBound(&z, n));
	z.next_in = (unsigned char *)(uintptr_t)data;
	z.avail_in = (uInt)n;
	z.next_out = (unsigned char *)b.data;
	z.avail_out = (uInt)b.cap;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	b.len = z.total_out;
	deflateEnd(&z);
	return b;
}

/* Feeds `in` in pieces of so many bytes, then its end. */
static int unpack(enum inflate_coding coding, const struct buf *in,
		  size_t piece, uint64_t max, struct buf *out, struct err *err)
{
	struct inflate f;
	int rc = 0;

	*err = (struct err){0};
	inflate_init(&f, coding, max);
	for (size_t at = 0; at < in->len && rc == 0; at += piece)
		rc = inflate_feed(&f, in->data + at, MIN(piece, in->len - at),
				  out, err);
	if (rc == 0)
		rc = inflate_end(&f, err);
	inflate_fini(&f);
	return rc;
}

static char *sample(size_t n)
{
	char *p = mem_alloc(n);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)((i * i >> 7) ^ i);
	return p;
}

static void codings_are_known_by_their_names(void **state)
{
	enum inflate_coding c;
	struct err err = {0};

	(void)state;
	assert_int_equal(inflate_coding(STR(""), &c, &err), 0);
	assert_int_equal(c, INFLATE_NONE);
	assert_int_equal(inflate_coding(STR("Identity"), &c, &err), 0);
	assert_int_equal(c, INFLATE_NONE);
	assert_int_equal(inflate_coding(STR(" GZip "), &c, &err), 0);
	assert_int_equal(c, INFLATE_GZIP);
	assert_int_equal(inflate_coding(STR("x-gzip"), &c, &err), 0);
	assert_int_equal(c, INFLATE_GZIP);
	assert_int_equal(inflate_coding(STR("deflate"), &c, &err), 0);
	assert_int_equal(c, INFLATE_DEFLATE);
	assert_int_equal(inflate_coding(STR("br"), &c, &err), E_ENCODING);
	assert_string_equal(
		err.msg, "Content-Encoding 'br' is not one that is unpacked "
			 "here: send the body as gzip, as deflate, or without "
			 "a Content-Encoding");
	assert_int_equal(inflate_coding(STR("gzip, gzip"), &c, &err),
			 E_ENCODING);
}

static void what_was_packed_comes_out(void **state)
{
	static const struct {
		enum inflate_coding coding;
		int bits;
	} ways[] = {{INFLATE_GZIP, GZIP},
		    {INFLATE_DEFLATE, ZLIB},
		    {INFLATE_DEFLATE, BARE}};
	static const size_t sizes[] = {0, 1, 4095, 4096, 300000};
	static const size_t pieces[] = {1, 2, 1000, SIZE_MAX / 2};
	struct err err;

	(void)state;
	for (size_t w = 0; w < ARRAY_LEN(ways); w++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++)
			for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
				cleanup_free char *data = sample(sizes[s] + 1);
				struct buf in =
					packed(data, sizes[s], ways[w].bits);
				struct buf out;

				buf_init(&out, sizes[s]);
				assert_int_equal(unpack(ways[w].coding, &in,
							pieces[p], sizes[s],
							&out, &err),
						 0);
				assert_int_equal(out.len, sizes[s]);
				if (sizes[s])
					assert_memory_equal(out.data, data,
							    sizes[s]);
				buf_fini(&in);
				buf_fini(&out);
			}
}

static void gzip_members_follow_each_other(void **state)
{
	struct buf a = packed("one ", 4, GZIP), b = packed("two", 3, GZIP);
	struct err err;
	struct buf out;

	(void)state;
	buf_add(&a, b.data, b.len);
	for (size_t piece = 1; piece <= a.len; piece++) {
		buf_init(&out, 100);
		assert_int_equal(
			unpack(INFLATE_GZIP, &a, piece, 100, &out, &err), 0);
		assert_string_equal(buf_cstr(&out), "one two");
		buf_fini(&out);
	}
	buf_fini(&a);
	buf_fini(&b);
}

static void every_cut_is_too_early(void **state)
{
	struct buf in = packed("some words, some words", 22, GZIP);
	struct err err;
	struct buf out;

	(void)state;
	for (size_t n = 0; n < in.len; n++) {
		struct buf part = {.data = in.data, .len = n};

		buf_init(&out, 100);
		assert_int_equal(
			unpack(INFLATE_GZIP, &part, 7, 100, &out, &err),
			E_INVALID);
		assert_non_null(strstr(err.msg, "the gzip body ends too early, "
						"after "));
		assert_non_null(strstr(err.msg, " bytes: send all of it"));
		buf_fini(&out);
	}
	buf_fini(&in);
}

static void malformed_says(enum inflate_coding coding, const void *data,
			   size_t n, const char *words)
{
	struct buf in = {.data = (char *)(uintptr_t)data, .len = n};
	struct err err;
	struct buf out;

	buf_init(&out, 1000);
	assert_int_equal(unpack(coding, &in, 1000, 1000, &out, &err),
			 E_INVALID);
	if (!strstr(err.msg, words))
		fail_msg("'%s' is not in '%s'", words, err.msg);
	buf_fini(&out);
}

static void what_is_malformed_is_named(void **state)
{
	struct buf in = packed("some words", 10, GZIP);
	struct buf z = packed("some words", 10, ZLIB);

	(void)state;
	malformed_says(INFLATE_GZIP, "{\"x\": 1}", 8,
		       "the body is not valid gzip: incorrect header check");
	malformed_says(INFLATE_DEFLATE, "\xff\xff\xff\xff", 4,
		       "the body is not valid deflate: invalid block type");
	in.data[in.len - 5] ^= 1; /* in its checksum */
	malformed_says(INFLATE_GZIP, in.data, in.len, "incorrect data check");
	in.data[in.len - 5] ^= 1;
	in.data[in.len - 1] ^= 1; /* in its length */
	malformed_says(INFLATE_GZIP, in.data, in.len, "incorrect length check");
	in.data[in.len - 1] ^= 1;
	buf_adds(&in, "and more");
	malformed_says(INFLATE_GZIP, in.data, in.len, "incorrect header check");
	buf_adds(&z, "x");
	malformed_says(INFLATE_DEFLATE, z.data, z.len, "bytes follow its end");
	malformed_says(INFLATE_DEFLATE, "\x78\xbb\0\0\0\0\0\0\0", 9,
		       "it needs a dictionary");
	buf_fini(&in);
	buf_fini(&z);
}

static void a_bomb_stops_at_the_limit(void **state)
{
	enum { BOMB = 64 << 20, LIMIT = 1 << 20 };
	cleanup_free char *zeros = mem_alloc(BOMB);
	struct buf in = packed(zeros, BOMB, GZIP);
	struct err err;
	struct buf out;

	(void)state;
	assert_true(in.len < BOMB / 1000);
	buf_init(&out, BOMB);
	assert_int_equal(unpack(INFLATE_GZIP, &in, in.len, LIMIT, &out, &err),
			 E_TOOBIG);
	assert_string_equal(err.msg, "the gzip body unpacks to more than 1.0 "
				     "MiB, the most that is taken");
	assert_true(out.len <= LIMIT);
	assert_true(out.cap <= 2 * LIMIT + 1);
	buf_fini(&out);
	/* The buffer's own maximum counts the same. */
	buf_init(&out, LIMIT);
	assert_int_equal(unpack(INFLATE_GZIP, &in, 100, BOMB, &out, &err),
			 E_TOOBIG);
	assert_true(out.cap <= LIMIT + 1);
	buf_fini(&out);
	buf_fini(&in);
}

static void a_whole_body_has_room_by_its_size(void **state)
{
	enum { FREE = 64 << 20 };
	cleanup_free char *zeros = mem_alloc(FREE + 1);
	struct buf in = packed(zeros, FREE, GZIP);
	struct err err = {0};
	struct buf out;

	(void)state;
	assert_int_equal(inflate_body(INFLATE_GZIP,
				      (struct str){in.data, in.len}, UINT64_MAX,
				      &out, &err),
			 0);
	assert_int_equal(out.len, FREE);
	buf_fini(&out);
	assert_int_equal(inflate_body(INFLATE_GZIP,
				      (struct str){in.data, in.len}, FREE - 1,
				      &out, &err),
			 E_TOOBIG);
	buf_fini(&in);
	in = packed(zeros, FREE + 1, GZIP);
	assert_int_equal(inflate_body(INFLATE_GZIP,
				      (struct str){in.data, in.len}, UINT64_MAX,
				      &out, &err),
			 E_TOOBIG);
	buf_fini(&in);
}

static void a_reader_may_take_pieces_out(void **state)
{
	enum { SIZE = 1 << 20 };
	cleanup_free char *data = sample(SIZE);
	struct buf in = packed(data, SIZE, GZIP);
	struct inflate f;
	struct err err = {0};
	size_t got = 0;
	struct buf out;

	(void)state;
	inflate_init(&f, INFLATE_GZIP, SIZE);
	buf_init(&out, SIZE);
	for (size_t at = 0; at < in.len; at++) {
		assert_int_equal(inflate_feed(&f, in.data + at, 1, &out, &err),
				 0);
		if (out.len)
			assert_memory_equal(data + got, out.data, out.len);
		got += out.len;
		buf_reset(&out);
	}
	assert_int_equal(inflate_end(&f, &err), 0);
	assert_int_equal(got, SIZE);
	assert_int_equal(f.out, SIZE);
	inflate_fini(&f);
	buf_fini(&out);
	buf_fini(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codings_are_known_by_their_names),
		cmocka_unit_test(what_was_packed_comes_out),
		cmocka_unit_test(gzip_members_follow_each_other),
		cmocka_unit_test(every_cut_is_too_early),
		cmocka_unit_test(what_is_malformed_is_named),
		cmocka_unit_test(a_bomb_stops_at_the_limit),
		cmocka_unit_test(a_whole_body_has_room_by_its_size),
		cmocka_unit_test(a_reader_may_take_pieces_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
