#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"
#include "host/dtype.h"
#include "host/elements.h"

enum {
	DIGITS = 20,  /* of the longest whole number */
	ROOM = 48,    /* what a number and its comma touch; see put_u64 */
	CHUNK = 1024, /* numbers that are written between two reservations */
};

/* Writes DIGITS bytes, of which those behind the number mean nothing: that is
 * two moves, where as many as there are would be a call. */
static char *put_u64(char *p, uint64_t v)
{
	static const char pairs[] = "00010203040506070809"
				    "10111213141516171819"
				    "20212223242526272829"
				    "30313233343536373839"
				    "40414243444546474849"
				    "50515253545556575859"
				    "60616263646566676869"
				    "70717273747576777879"
				    "80818283848586878889"
				    "90919293949596979899";
	char digits[2 * DIGITS], *at = digits + DIGITS;

	for (; v >= 100; v /= 100)
		at = memcpy(at - 2, pairs + v % 100 * 2, 2);
	if (v >= 10)
		at = memcpy(at - 2, pairs + v * 2, 2);
	else
		*--at = (char)('0' + v);
	memcpy(p, at, DIGITS);
	return p + (digits + DIGITS - at);
}

static char *put_i64(char *p, int64_t v)
{
	if (v < 0)
		*p++ = '-';
	return put_u64(p, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

static char *put_word(char *p, const char *word)
{
	size_t n = strlen(word);

	memcpy(p, word, n);
	return p + n;
}

/* ---- float32 ---- */

/* 10^e, for e from 0 to what brings the least float32 to nine digits. */
static double power10(int e)
{
	static const double table[] = {
		1e0,  1e1,  1e2,  1e3,	1e4,  1e5,  1e6,  1e7,	1e8,
		1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
		1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26,
		1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35,
		1e36, 1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43, 1e44,
		1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53};

	return table[e];
}

static double scaled(double x, int e)
{
	return e < 0 ? x / power10(-e) : x * power10(e);
}

/* The exponent of the power of ten at or below x, or one less. */
static int log10_of(double x)
{
	uint64_t bits;

	memcpy(&bits, &x, sizeof bits);
	return (((int)(bits >> 52) - 1023) * 1233) >> 12; /* log10(2) */
}

/* The fewest digits, at least 6 and at most 9, that read back as f > 0:
 * digits * 10^*ret_e is f. A double has room for nine digits and the error of
 * scaling; whatever six digits tell apart, float32 does, too, so that a shorter
 * text ends in zeros here. */
static uint32_t shortest(float f, int *ret_e)
{
	static const uint32_t tens[] = {1, 10, 100, 1000};
	int e = log10_of((double)f) - 8;
	double nine = scaled((double)f, -e), most;

	if (nine >= 1e9)
		nine = scaled((double)f, -++e);
	/* What is farther away is another float32, if f is not so small that
	 * it has fewer bits than others. */
	most = f < FLT_MIN ? nine : nine * 0x1p-24;
	for (int cut = 3; cut > 0; cut--) {
		uint32_t half = tens[cut] / 2;
		uint32_t fewer = ((uint32_t)nine + half) / tens[cut];
		double more = fewer * (double)tens[cut] - nine;

		/* Halfway between two it is the even one. */
		if (more == half)
			fewer -= fewer & 1;
		if (fabs(more) <= most && (float)scaled(fewer, e + cut) == f) {
			*ret_e = e + cut;
			return fewer;
		}
	}
	*ret_e = e;
	return (uint32_t)(nine + 0.5);
}

static char *put_float(char *p, float f)
{
	char digits[DIGITS];
	int e, n, point;

	if (!isfinite(f))
		return put_word(p, "null");
	if (signbit(f))
		*p++ = '-';
	f = fabsf(f);
	/* Whole numbers that float32 holds exactly are many. */
	if (f < 0x1p24f && f == (float)(int32_t)f)
		return put_word(put_u64(p, (uint64_t)f), ".0");
	n = (int)(put_u64(digits, shortest(f, &e)) - digits);
	for (; n > 1 && digits[n - 1] == '0'; n--)
		e++;
	point = n + e; /* digits before the point */
	if (point > 0 && point <= n) {
		p = memcpy(p, digits, DIGITS);
		p += point;
		*p++ = '.';
		if (point == n)
			*p++ = '0';
		memcpy(p, digits + point, (size_t)(n - point));
		return p + (n - point);
	}
	if (point <= 0 && point > -5) {
		p = put_word(p, "0.");
		memset(p, '0', 4);
		p += -point;
		memcpy(p, digits, DIGITS);
		return p + n;
	}
	*p++ = digits[0];
	if (n > 1) {
		*p++ = '.';
		memcpy(p, digits + 1, (size_t)(n - 1));
		p += n - 1;
	}
	*p++ = 'e';
	return put_i64(p, point - 1);
}

/* ---- float64: yyjson writes a list of them ---- */

static void write_float64(struct buf *b, const double *d, size_t n)
{
	enum { SOME = 64 };
	yyjson_val list[SOME + 1];
	char memory[SOME * ROOM * 2 + 4096];
	yyjson_alc alc;

	while (n > 0) {
		size_t some = MIN(n, (size_t)SOME), len;
		char *text;

		list[0].tag = (uint64_t)some << YYJSON_TAG_BIT |
			      YYJSON_TYPE_ARR | YYJSON_SUBTYPE_NONE;
		list[0].uni.ofs = (some + 1) * sizeof *list;
		for (size_t i = 0; i < some; i++) {
			list[i + 1].tag = YYJSON_TYPE_NUM | YYJSON_SUBTYPE_REAL;
			list[i + 1].uni.f64 = d[i];
		}
		yyjson_alc_pool_init(&alc, memory, sizeof memory);
		text = yyjson_val_write_opts(list,
					     YYJSON_WRITE_INF_AND_NAN_AS_NULL,
					     &alc, &len, NULL);
		/* The memory is enough for the longest numbers. */
		if (!text || buf_add(b, text + 1, len - 2))
			return;
		d += some;
		n -= some;
		if (n > 0)
			buf_addc(b, ',');
	}
}

/* ---- rows ---- */

static void write_strings(struct buf *b, const struct soma_string *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_addc(b, ',');
		json_quote(b, (struct str){s[i].data, s[i].len});
	}
}

static char *put_one(char *p, enum soma_dtype dtype, const void *data, size_t i)
{
	switch (dtype) {
	case SOMA_BOOL:
		return put_word(p,
				((const uint8_t *)data)[i] ? "true" : "false");
	case SOMA_INT8:
		return put_i64(p, ((const int8_t *)data)[i]);
	case SOMA_INT16:
		return put_i64(p, ((const int16_t *)data)[i]);
	case SOMA_INT32:
		return put_i64(p, ((const int32_t *)data)[i]);
	case SOMA_INT64:
		return put_i64(p, ((const int64_t *)data)[i]);
	case SOMA_UINT8:
		return put_u64(p, ((const uint8_t *)data)[i]);
	case SOMA_UINT16:
		return put_u64(p, ((const uint16_t *)data)[i]);
	case SOMA_UINT32:
		return put_u64(p, ((const uint32_t *)data)[i]);
	case SOMA_UINT64:
		return put_u64(p, ((const uint64_t *)data)[i]);
	case SOMA_FLOAT16:
		return put_float(p, half_to_float(((const uint16_t *)data)[i]));
	case SOMA_BFLOAT16:
		return put_float(
			p, bfloat16_to_float(((const uint16_t *)data)[i]));
	case SOMA_FLOAT32:
		return put_float(p, ((const float *)data)[i]);
	default:
		return p;
	}
}

void elements_write(struct buf *b, enum soma_dtype dtype, const void *data,
		    size_t n)
{
	if (dtype == SOMA_STRING) {
		write_strings(b, data, n);
		return;
	}
	if (dtype == SOMA_FLOAT64) {
		write_float64(b, data, n);
		return;
	}
	for (size_t i = 0; i < n;) {
		size_t end = MIN(n, i + CHUNK);
		char *p;

		if (buf_reserve(b, (end - i) * ROOM)) {
			b->full = true;
			return;
		}
		p = b->data + b->len;
		for (; i < end; i++) {
			p = put_one(p, dtype, data, i);
			*p++ = ',';
		}
		b->len = (size_t)(p - b->data) - (i == n);
	}
}
