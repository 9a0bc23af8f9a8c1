#include <math.h>

#include "host/dtype.h"
#include "host/elements.h"

/* A whole number, as JSON wrote it: 3, -3, 3.0 and 3e2 are, 3.5 is not. Beyond
 * 2^53 a number with point or exponent may have been another one. */
static bool whole(yyjson_val *v, int64_t *ret)
{
	double d;

	if (yyjson_is_sint(v)) {
		*ret = yyjson_get_sint(v);
		return true;
	}
	if (yyjson_is_uint(v)) {
		*ret = (int64_t)yyjson_get_uint(v);
		return yyjson_get_uint(v) <= INT64_MAX;
	}
	d = yyjson_get_real(v); /* 0 for what is no number: asked below */
	if (!yyjson_is_real(v) || d != trunc(d) || fabs(d) > 0x1p53)
		return false;
	*ret = (int64_t)d;
	return true;
}

#define READ_WHOLE(name, type, least, most)                                    \
	static size_t name(yyjson_val *v, size_t n, type *out)                 \
	{                                                                      \
		for (size_t i = 0; i < n; i++) {                               \
			int64_t x;                                             \
                                                                               \
			if (!whole(v + i, &x) || x < (least) || x > (most))    \
				return i;                                      \
			out[i] = (type)x;                                      \
		}                                                              \
		return n;                                                      \
	}

READ_WHOLE(read_int8, int8_t, INT8_MIN, INT8_MAX)
READ_WHOLE(read_int16, int16_t, INT16_MIN, INT16_MAX)
READ_WHOLE(read_int32, int32_t, INT32_MIN, INT32_MAX)
READ_WHOLE(read_uint8, uint8_t, 0, UINT8_MAX)
READ_WHOLE(read_uint16, uint16_t, 0, UINT16_MAX)
READ_WHOLE(read_uint32, uint32_t, 0, UINT32_MAX)

static size_t read_int64(yyjson_val *v, size_t n, int64_t *out)
{
	for (size_t i = 0; i < n; i++)
		if (!whole(v + i, &out[i]))
			return i;
	return n;
}

static size_t read_uint64(yyjson_val *v, size_t n, uint64_t *out)
{
	for (size_t i = 0; i < n; i++) {
		int64_t x;

		if (yyjson_is_uint(v + i)) {
			out[i] = yyjson_get_uint(v + i);
			continue;
		}
		if (!whole(v + i, &x) || x < 0)
			return i;
		out[i] = (uint64_t)x;
	}
	return n;
}

static size_t read_bool(yyjson_val *v, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++) {
		int64_t x;

		if (yyjson_is_bool(v + i))
			out[i] = yyjson_get_bool(v + i);
		else if (whole(v + i, &x) && (x == 0 || x == 1))
			out[i] = (uint8_t)x;
		else
			return i;
	}
	return n;
}

static size_t read_float64(yyjson_val *v, size_t n, double *out)
{
	for (size_t i = 0; i < n; i++) {
		if (!yyjson_is_num(v + i))
			return i;
		out[i] = yyjson_get_num(v + i);
	}
	return n;
}

static size_t read_float32(yyjson_val *v, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++) {
		double d;

		if (!yyjson_is_num(v + i))
			return i;
		d = yyjson_get_num(v + i);
		out[i] = (float)d;
		if (isinf(out[i]))
			return i;
	}
	return n;
}

static size_t read_float16(yyjson_val *v, size_t n, uint16_t *out)
{
	for (size_t i = 0; i < n; i++) {
		if (!yyjson_is_num(v + i))
			return i;
		out[i] = half_of_float((float)yyjson_get_num(v + i));
		if ((out[i] & 0x7fff) == 0x7c00)
			return i;
	}
	return n;
}

static size_t read_bfloat16(yyjson_val *v, size_t n, uint16_t *out)
{
	for (size_t i = 0; i < n; i++) {
		if (!yyjson_is_num(v + i))
			return i;
		out[i] = bfloat16_of_float((float)yyjson_get_num(v + i));
		if ((out[i] & 0x7fff) == 0x7f80)
			return i;
	}
	return n;
}

static size_t read_string(yyjson_val *v, size_t n, struct soma_string *out)
{
	for (size_t i = 0; i < n; i++) {
		if (!yyjson_is_str(v + i))
			return i;
		out[i].data = yyjson_get_str(v + i);
		out[i].len = yyjson_get_len(v + i);
	}
	return n;
}

size_t elements_read(enum soma_dtype dtype, yyjson_val *first, size_t n,
		     void *out)
{
	switch (dtype) {
	case SOMA_BOOL:
		return read_bool(first, n, out);
	case SOMA_INT8:
		return read_int8(first, n, out);
	case SOMA_INT16:
		return read_int16(first, n, out);
	case SOMA_INT32:
		return read_int32(first, n, out);
	case SOMA_INT64:
		return read_int64(first, n, out);
	case SOMA_UINT8:
		return read_uint8(first, n, out);
	case SOMA_UINT16:
		return read_uint16(first, n, out);
	case SOMA_UINT32:
		return read_uint32(first, n, out);
	case SOMA_UINT64:
		return read_uint64(first, n, out);
	case SOMA_FLOAT16:
		return read_float16(first, n, out);
	case SOMA_BFLOAT16:
		return read_bfloat16(first, n, out);
	case SOMA_FLOAT32:
		return read_float32(first, n, out);
	case SOMA_FLOAT64:
		return read_float64(first, n, out);
	case SOMA_STRING:
		return read_string(first, n, out);
	case SOMA_ANY:
		break;
	}
	return 0;
}
