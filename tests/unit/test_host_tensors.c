#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "host/dtype.h"
#include "host/elements.h"
#include "host/tensors.h"

static const struct soma_port two[] = {
	{.name = "x",
	 .dtype = SOMA_FLOAT32,
	 .rank = 2,
	 .shape = {-1, 2},
	 .dim_names = {"batch"}},
	{.name = "k", .dtype = SOMA_INT64, .rank = 0, .optional = 1},
};
static const struct soma_ports ports = {.inputs = two, .n_inputs = 2};
static const struct soma_ports open_ports = {.open = 1};

static int read_text(struct tensors *t, const struct soma_ports *p,
		     const char *json, struct err *err)
{
	*err = (struct err){0};
	tensors_reset(t);
	return tensors_read(t, p, json, strlen(json), err);
}

static void inputs_come_in_the_order_of_ports(void **state)
{
	struct tensors t;
	struct err err;

	(void)state;
	tensors_init(&t);
	assert_int_equal(
		read_text(&t, &ports, "{\"k\":7,\"x\":[[1,2],[3,4.5]]}", &err),
		0);
	assert_int_equal(t.n, 2);
	assert_string_equal(t.items[0].name, "x");
	assert_int_equal(t.items[0].count, 4);
	assert_true(((const float *)t.items[0].data)[3] == 4.5f);
	assert_int_equal((uintptr_t)t.items[0].data % 64, 0);
	assert_int_equal((uintptr_t)t.items[1].data % 64, 0);
	assert_int_equal(*(const int64_t *)t.items[1].data, 7);
	/* Again in the same memory, and without what is optional. */
	assert_int_equal(read_text(&t, &ports, "{\"x\":[[1,2]]}", &err), 0);
	assert_int_equal(t.n, 1);
	assert_int_equal(t.items[0].shape[0], 1);
	tensors_fini(&t);
}

static void a_failed_read_leaves_it_usable(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{\"y\":1}",
		"{}",
		"{\"x\":[[1,2],[3]]}",
		"{\"x\":[[1,\"2\"]]}",
		"{\"x\":[[1,2]],\"k\":[1]}",
	};
	struct tensors t;
	struct err err;

	(void)state;
	tensors_init(&t);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(read_text(&t, &ports, bad[i], &err),
				 E_INVALID);
		assert_true(err.msg[0] != 0);
		assert_int_equal(read_text(&t, &ports, "{\"x\":[[1,2]]}", &err),
				 0);
	}
	tensors_fini(&t);
}

/* Text in, text out, where nobody has declared anything. */
static void goes_round(const char *in, const char *out)
{
	struct soma_response response = {.size = sizeof response};
	struct err err = {0};
	struct tensors t;
	struct buf b;

	tensors_init(&t);
	if (read_text(&t, &open_ports, in, &err))
		fail_msg("%s: %s", in, err.msg);
	response.outputs = t.items;
	response.n_outputs = t.n;
	buf_init(&b, 1 << 20);
	assert_int_equal(tensors_write(&b, &response, &err), 0);
	assert_string_equal(buf_cstr(&b), out);
	buf_fini(&b);
	tensors_fini(&t);
}

static void undeclared_kinds_are_seen(void **state)
{
	(void)state;
	goes_round("{}", "{}");
	goes_round("{\"a\": 1, \"b\": [1, 2.5], \"c\": \"x\", \"d\": [true]}",
		   "{\"a\":1,\"b\":[1.0,2.5],\"c\":\"x\",\"d\":[true]}");
	goes_round("{\"\\u00fc\\n\": [[\"\\u0000\"], [\"\"]]}",
		   "{\"\xc3\xbc\\n\":[[\"\\u0000\"],[\"\"]]}");
	goes_round("{\"a\": [[], []]}", "{\"a\":[[],[]]}");
	goes_round("{\"a\": [[[1, 2]], [[3, 4]]]}",
		   "{\"a\":[[[1,2]],[[3,4]]]}");
}

/* "[1,[[[...]]]]": the first item says one level. */
static void deep_nesting_takes_no_stack(void **state)
{
	enum { DEEP = 4 << 20 };
	struct tensors t;
	struct err err;
	struct buf b;

	(void)state;
	tensors_init(&t);
	buf_init(&b, SIZE_MAX / 4);
	buf_adds(&b, "{\"x\":[1,");
	for (size_t i = 0; i < DEEP; i++)
		buf_addc(&b, '[');
	for (size_t i = 0; i < DEEP; i++)
		buf_addc(&b, ']');
	buf_adds(&b, "]}");
	assert_int_equal(read_text(&t, &open_ports, buf_cstr(&b), &err),
			 E_INVALID);
	assert_non_null(strstr(err.msg, "x[1] is a list"));
	buf_fini(&b);
	tensors_fini(&t);
}

static void names_nobody_declared_are_limited(void **state)
{
	enum { MANY = 100000 };
	struct tensors t;
	struct err err;
	struct buf b;

	(void)state;
	tensors_init(&t);
	buf_init(&b, SIZE_MAX / 4);
	for (size_t i = 0; i < MANY; i++)
		buf_addf(&b, "%s\"%zu\":1", i ? "," : "{", i);
	buf_addc(&b, '}');
	assert_int_equal(read_text(&t, &open_ports, buf_cstr(&b), &err),
			 E_INVALID);
	assert_string_equal(err.msg,
			    "there are more than 1024 inputs, the most that "
			    "are taken under names that the model does not "
			    "declare");
	assert_true(t.cap <= 1024);
	buf_fini(&b);
	tensors_fini(&t);
}

static void written_is(enum soma_dtype dtype, const void *data, size_t n,
		       const char *expected)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	elements_write(&b, dtype, data, n);
	assert_string_equal(buf_cstr(&b), expected);
	buf_fini(&b);
}

static void numbers_are_written_whole(void **state)
{
	static const int8_t i8[] = {-128, 0, 127};
	static const uint64_t u64[] = {0, UINT64_MAX};
	static const int64_t i64[] = {INT64_MIN, INT64_MAX};
	static const float f32[] = {0.1f,	   -0.0f,	1e10f,
				    3.4028235e38f, 1e-7f,	1.5e-45f,
				    16777216.f,	   123456.789f, 1.00390625f,
				    NAN,	   -INFINITY};
	static const double f64[] = {0.1, 1e300, NAN, -2.5e-310};
	static const uint16_t f16[] = {0x3c00, 0x2e66, 0x7bff, 1, 0x7e00};

	(void)state;
	written_is(SOMA_INT8, i8, 3, "-128,0,127");
	written_is(SOMA_UINT64, u64, 2, "0,18446744073709551615");
	written_is(SOMA_INT64, i64, 2,
		   "-9223372036854775808,9223372036854775807");
	written_is(SOMA_FLOAT32, f32, ARRAY_LEN(f32),
		   "0.1,-0.0,1e10,3.4028235e38,1e-7,1.4013e-45,16777216.0,"
		   "123456.79,1.0039062,null,null");
	written_is(SOMA_FLOAT64, f64, ARRAY_LEN(f64),
		   "0.1,1e300,null,-2.5e-310");
	written_is(SOMA_FLOAT16, f16, ARRAY_LEN(f16),
		   "1.0,0.099975586,65504.0,5.9604645e-8,null");
	written_is(SOMA_INT8, i8, 0, "");
}

/* Every text reads back as the same float, and none is longer than it must
 * be. */
static void floats_come_back(void **state)
{
	uint64_t seed = 42;

	(void)state;
	for (int i = 0; i < 300000; i++) {
		uint32_t bits;
		char shortest[64];
		struct buf b;
		float f;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		bits = (uint32_t)(seed >> 32);
		memcpy(&f, &bits, sizeof f);
		if (!isfinite(f))
			continue;
		buf_init(&b, 1000);
		elements_write(&b, SOMA_FLOAT32, &f, 1);
		if (strtof(buf_cstr(&b), NULL) != f)
			fail_msg("%a is written as %s", (double)f,
				 buf_cstr(&b));
		for (int digits = 1; digits <= 9; digits++) {
			snprintf(shortest, sizeof shortest, "%.*e", digits - 1,
				 (double)f);
			if (strtof(shortest, NULL) == f)
				break;
		}
		/* Digits of a mantissa, without point, sign and exponent. */
		{
			size_t n = 0, want = 0;

			for (const char *p = b.data; *p && *p != 'e'; p++)
				n += *p >= '0' && *p <= '9' && (n || *p != '0');
			for (const char *p = shortest; *p && *p != 'e'; p++)
				want += *p >= '0' && *p <= '9';
			if (fabsf(f) < 1e7f && fabsf(f) > 1e-4f &&
			    f != truncf(f) && n > want)
				fail_msg("%s is longer than %s", buf_cstr(&b),
					 shortest);
		}
		buf_fini(&b);
	}
}

static void halves_are_exact(void **state)
{
	(void)state;
	for (uint32_t h = 0; h < 65536; h++) {
		float f = half_to_float((uint16_t)h);

		if (f == f)
			assert_int_equal(half_of_float(f), h);
		f = bfloat16_to_float((uint16_t)h);
		if (f == f)
			assert_int_equal(bfloat16_of_float(f), h);
	}
	/* To the nearest, ties to even. */
	assert_int_equal(half_of_float(1.0f + 0x1p-11f), 0x3c00);
	assert_int_equal(half_of_float(1.0f + 0x1.8p-10f), 0x3c02);
	assert_int_equal(half_of_float(65519.0f), 0x7bff);
	assert_int_equal(half_of_float(65520.0f), 0x7c00);
	assert_int_equal(half_of_float(-0x1p-25f), 0x8000);
	assert_int_equal(half_of_float(NAN) & 0x7c00, 0x7c00);
}

static void a_malformed_response_is_told(void **state)
{
	static const float one = 1;
	struct soma_tensor t = {.name = "y",
				.dtype = SOMA_FLOAT32,
				.rank = 1,
				.shape = {2},
				.count = 1,
				.data = &one};
	struct soma_response out = {.outputs = &t, .n_outputs = 1};
	struct err err = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(tensors_write(&b, &out, &err), E_INTERNAL);
	assert_string_equal(err.msg, "the engine's output 'y' has 1 elements, "
				     "its shape says 2");
	t.shape[0] = -1;
	assert_int_equal(tensors_write(&b, &out, &err), E_INTERNAL);
	t.shape[0] = 1;
	t.dtype = SOMA_ANY;
	assert_int_equal(tensors_write(&b, &out, &err), E_INTERNAL);
	t.dtype = SOMA_FLOAT32;
	buf_reset(&b);
	assert_int_equal(tensors_write(&b, &out, &err), 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inputs_come_in_the_order_of_ports),
		cmocka_unit_test(a_failed_read_leaves_it_usable),
		cmocka_unit_test(undeclared_kinds_are_seen),
		cmocka_unit_test(deep_nesting_takes_no_stack),
		cmocka_unit_test(names_nobody_declared_are_limited),
		cmocka_unit_test(numbers_are_written_whole),
		cmocka_unit_test(floats_come_back),
		cmocka_unit_test(halves_are_exact),
		cmocka_unit_test(a_malformed_response_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
