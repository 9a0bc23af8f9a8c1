#include "host/dtype.h"

#include <inttypes.h>
#include <string.h>

#include "core/mem.h"

static const struct {
	const char *name;
	size_t size;
} types[] = {
	[SOMA_ANY] = {"any", 0},
	[SOMA_BOOL] = {"bool", 1},
	[SOMA_INT8] = {"int8", 1},
	[SOMA_INT16] = {"int16", 2},
	[SOMA_INT32] = {"int32", 4},
	[SOMA_INT64] = {"int64", 8},
	[SOMA_UINT8] = {"uint8", 1},
	[SOMA_UINT16] = {"uint16", 2},
	[SOMA_UINT32] = {"uint32", 4},
	[SOMA_UINT64] = {"uint64", 8},
	[SOMA_FLOAT16] = {"float16", 2},
	[SOMA_BFLOAT16] = {"bfloat16", 2},
	[SOMA_FLOAT32] = {"float32", 4},
	[SOMA_FLOAT64] = {"float64", 8},
	[SOMA_STRING] = {"string", sizeof(struct soma_string)},
};

const char *dtype_name(enum soma_dtype dtype)
{
	return (size_t)dtype < ARRAY_LEN(types) ? types[dtype].name : NULL;
}

size_t dtype_size(enum soma_dtype dtype)
{
	return (size_t)dtype < ARRAY_LEN(types) ? types[dtype].size : 0;
}

static uint32_t bits_of(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	return u;
}

static float of_bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

float half_to_float(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t exponent = half >> 10 & 31, fraction = half & 1023;

	if (exponent == 31)
		return of_bits(sign | 0x7f800000 | fraction << 13);
	if (exponent)
		return of_bits(sign | (exponent + 112) << 23 | fraction << 13);
	/* Zero or subnormal: fraction / 2^24, which float32 holds exactly. */
	return of_bits(sign | bits_of((float)fraction * 0x1p-24f));
}

uint16_t half_of_float(float f)
{
	uint32_t u = bits_of(f), sign = u >> 16 & 0x8000, rest, half;
	float a = of_bits(u & 0x7fffffff);

	if (a != a)
		return (uint16_t)(sign | 0x7e00);
	if (a >= 65520.0f) /* halfway between the largest and the next */
		return (uint16_t)(sign | 0x7c00);
	if (a < 0x1p-14f) {
		/* Adding 0.5 leaves the rounded count of 2^-24 in the low bits:
		 * the FPU rounds to even. */
		half = bits_of(a + 0.5f) - bits_of(0.5f);
		return (uint16_t)(sign | half);
	}
	u = bits_of(a) - (112u << 23);
	half = u >> 13;
	rest = u & 0x1fff;
	half += rest > 0x1000 || (rest == 0x1000 && (half & 1));
	return (uint16_t)(sign | half);
}

float bfloat16_to_float(uint16_t b)
{
	return of_bits((uint32_t)b << 16);
}

uint16_t bfloat16_of_float(float f)
{
	uint32_t u = bits_of(f);

	if (f != f)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void port_describe(struct buf *b, const struct soma_port *port)
{
	buf_adds(b, dtype_name(port->dtype));
	if (port->rank == 0 || (port->rank < 0 && port->dtype == SOMA_ANY))
		return;
	if (port->rank < 0) {
		buf_adds(b, " of any shape");
		return;
	}
	for (int32_t i = 0; i < port->rank; i++) {
		buf_adds(b, i ? "," : " [");
		if (port->shape[i] >= 0)
			buf_addf(b, "%" PRId64, port->shape[i]);
		else
			buf_adds(b, port->dim_names[i] ? port->dim_names[i]
						       : "any");
	}
	buf_addc(b, ']');
}
