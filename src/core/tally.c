#include "core/tally.h"

#include <stddef.h>

#include "core/json.h"
#include "core/mem.h"

#define HOUR_NS (3600 * UINT64_C(1000000000))
#define MUCH (UINT64_MAX >> 8) /* so that sums of them do not wrap */

static const struct field {
	const char *name;
	size_t at;
	bool is_count; /* of 32 bits */
	uint64_t most;
} fields[] = {
#define NOW(name)                                                              \
	{                                                                      \
#name, offsetof(struct tally, name), true, UINT32_MAX          \
	}
#define MEAN(name)                                                             \
	{                                                                      \
#name, offsetof(struct tally, name), false, HOUR_NS            \
	}
#define TOTAL(name)                                                            \
	{                                                                      \
#name, offsetof(struct tally, name), false, MUCH               \
	}
	NOW(pre),	    NOW(ready),
	NOW(predict),	    NOW(post),
	NOW(busy),	    MEAN(pre_ns),
	MEAN(predict_ns),   TOTAL(busy_ns),
	TOTAL(pre_calls),   TOTAL(pre_calls_ns),
	TOTAL(calls),	    TOTAL(calls_ns),
	TOTAL(requests),    TOTAL(gone_pre),
	TOTAL(gone_ready),  TOTAL(gone_predict),
	TOTAL(post_errors),
};

static const uint64_t *number_of(const struct tally *t, const struct field *f)
{
	return (const void *)((const char *)t + f->at);
}

static bool is_total(const struct field *f)
{
	return f->most == MUCH;
}

static uint64_t mean(uint64_t so_far, uint64_t ns)
{
	return so_far ? so_far - so_far / 8 + ns / 8 : ns;
}

void tally_pre(struct tally *t, uint64_t ns)
{
	t->pre_calls++;
	t->pre_calls_ns += ns;
	t->pre_ns = mean(t->pre_ns, ns);
}

void tally_call(struct tally *t, uint32_t n, uint64_t ns)
{
	unsigned i = 0;

	while (i + 1 < TALLY_SIZES && n > tally_size(i))
		i++;
	t->sizes[i]++;
	t->calls++;
	t->calls_ns += ns;
	t->requests += n;
	t->predict_ns = mean(t->predict_ns, ns);
}

uint32_t tally_size(unsigned i)
{
	return UINT32_C(1) << i;
}

static uint64_t beyond(uint64_t before, uint64_t now)
{
	return now > before ? now - before : 0;
}

void tally_add(struct tally *sum, const struct tally *before,
	       const struct tally *now)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];

		if (is_total(f))
			*(uint64_t *)(void *)((char *)sum + f->at) += beyond(
				*number_of(before, f), *number_of(now, f));
	}
	for (unsigned i = 0; i < TALLY_SIZES; i++)
		sum->sizes[i] += beyond(before->sizes[i], now->sizes[i]);
}

bool tally_same(const struct tally *a, const struct tally *b)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];
		size_t size = f->is_count ? sizeof(uint32_t) : sizeof(uint64_t);

		if (memcmp((const char *)a + f->at, (const char *)b + f->at,
			   size) != 0)
			return false;
	}
	return memcmp(a->sizes, b->sizes, sizeof a->sizes) == 0;
}

void tally_write(const struct tally *t, struct buf *b)
{
	const char *before = "{\"";
	unsigned n = TALLY_SIZES;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];
		uint64_t v =
			f->is_count
				? *(const uint32_t
					    *)(const void *)((const char *)t +
							     f->at)
				: *number_of(t, f);

		if (!v && !f->is_count)
			continue;
		buf_adds(b, before);
		buf_adds(b, f->name);
		buf_adds(b, "\":");
		buf_addu(b, v);
		before = ",\"";
	}
	while (n && !t->sizes[n - 1])
		n--;
	for (unsigned i = 0; i < n; i++) {
		buf_adds(b, i ? "," : ",\"sizes\":[");
		buf_addu(b, t->sizes[i]);
	}
	buf_adds(b, n ? "]}" : "}");
}

static uint64_t bounded(yyjson_val *v, uint64_t most)
{
	return yyjson_is_uint(v) ? MIN(yyjson_get_uint(v), most) : 0;
}

bool tally_read(struct tally *ret, struct str json)
{
	cleanup_json yyjson_doc *doc = json_parse(json.p, json.n, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc), *sizes;

	if (!yyjson_is_obj(root))
		return false;
	*ret = (struct tally){0};
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];
		uint64_t v = bounded(yyjson_obj_get(root, f->name), f->most);
		char *at = (char *)ret + f->at;

		if (f->is_count)
			*(uint32_t *)(void *)at = (uint32_t)v;
		else
			*(uint64_t *)(void *)at = v;
	}
	sizes = yyjson_obj_get(root, "sizes");
	for (unsigned i = 0; i < TALLY_SIZES; i++)
		ret->sizes[i] = bounded(yyjson_arr_get(sizes, i), MUCH);
	return true;
}
