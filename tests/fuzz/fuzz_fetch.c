/* Any bytes as what sources answer: the XML of S3's lists, keys and addresses
 * with %XX, and the ranges that a note tells of. No crash, no end that is never
 * reached, and what was read once is read the same again. The first byte says
 * as what. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/sha256.h"
#include "fetch/ranges.h"
#include "fetch/url.h"
#include "fetch/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
	if (!right)
		abort();
}

/* ---- XML ---- */

/* The sum of all that it has, to its end or to what is wrong. */
static enum xml_kind read_xml(const char *text, size_t len,
			      char sum[SHA256_HEX])
{
	enum xml_kind kind;
	struct arena arena;
	struct sha256 all;
	size_t words = 0;
	struct str word;
	struct xml x;

	arena_init(&arena);
	sha256_init(&all);
	xml_init(&x, text, len, &arena);
	while ((kind = xml_next(&x, &word)) != XML_END && kind != XML_BAD) {
		/* An element takes four bytes at least, and is two words. */
		check(++words <= len);
		check(word.n > 0 && word.n <= len);
		sha256_add(&all, &kind, sizeof kind);
		sha256_add(&all, word.p, word.n);
	}
	sha256_hex(&all, sum);
	arena_fini(&arena);
	return kind;
}

static void try_xml(const char *text, size_t len)
{
	char first[SHA256_HEX], second[SHA256_HEX];

	check(read_xml(text, len, first) == read_xml(text, len, second));
	check(strcmp(first, second) == 0);
}

/* ---- addresses ---- */

static void try_url(const char *data, size_t len)
{
	struct str raw = {data, len};
	cleanup_free char *text = mem_strndup(data, len);
	cleanup_free char *undone = url_unescape(raw, true);
	cleanup_free char *escaped = url_escape(raw, false);
	cleanup_free char *again = url_unescape(str_of(escaped), true);
	cleanup_free char *shown = url_shown(text);
	cleanup_free char *host = url_host(text);

	check(!undone || strlen(undone) <= len);
	/* A NUL is the one byte that has no way back. */
	check(memchr(data, 0, len) ? !again
				   : again && strlen(again) == len &&
					     memcmp(again, data, len) == 0);
	check(!strpbrk(shown, "?#") && strlen(shown) <= strlen(text));
	check(!host || *host);
	url_same_host(text, shown);
}

/* ---- ranges ---- */

enum { BYTES = 256 };

/* Pairs of bytes, beside a map of each byte. */
static void try_ranges(const uint8_t *data, size_t len)
{
	bool there[BYTES] = {0};
	struct ranges r = {0};
	size_t total = 0, front = 0;

	for (size_t i = 0; i + 1 < len; i += 2) {
		ranges_add(&r, data[i], data[i + 1]);
		for (size_t at = data[i]; at < data[i + 1]; at++)
			there[at] = true;
	}
	for (size_t i = 0; i < BYTES; i++)
		total += there[i];
	while (front < BYTES && there[front])
		front++;
	check(ranges_total(&r) == total && ranges_front(&r) == front);
	for (size_t from = 0; from < BYTES; from++) {
		struct range gap = ranges_gap(&r, from, BYTES);
		size_t want = from, end;

		while (want < BYTES && there[want])
			want++;
		for (end = want; end < BYTES && !there[end];)
			end++;
		check(gap.from == want && gap.to == end);
	}
	ranges_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] % 3 == 0)
		try_xml((const char *)data + 1, size - 1);
	else if (data[0] % 3 == 1)
		try_url((const char *)data + 1, size - 1);
	else
		try_ranges(data + 1, size - 1);
	return 0;
}
