#include "test_weights_kit.h"

#include <stdio.h>

/* A header and so many bytes of tensors behind it. */
static struct buf file_of(const char *header, size_t bytes)
{
	struct buf b = made();

	add_le(&b, strlen(header), 8);
	buf_adds(&b, header);
	for (size_t i = 0; i < bytes; i++)
		buf_addc(&b, (char)i);
	return b;
}

static void tensors_are_found(void **state)
{
	static const char header[] =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],"
		"\"data_offsets\":[4,16]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
		"\"none\":{\"shape\":[0,5],\"data_offsets\":[16,16],"
		"\"dtype\":\"I64\"}}   ";
	uint64_t start = 8 + sizeof header - 1;
	const struct weights_tensor *t;
	struct weights w;

	(void)state;
	accepted(file_of(header, 16), &w);
	assert_int_equal(w.kind, WEIGHTS_SAFETENSORS);
	assert_int_equal(w.n, 3);
	t = tensor(&w, "a");
	assert_int_equal(t->dtype, WEIGHTS_F32);
	assert_int_equal(t->n_dims, 0);
	assert_int_equal(t->offset, start);
	assert_int_equal(t->bytes, 4);
	t = tensor(&w, "b");
	assert_string_equal(weights_dtype_name(t->dtype), "BF16");
	assert_int_equal(t->n_dims, 2);
	assert_int_equal(t->shape[0], 2);
	assert_int_equal(t->shape[1], 3);
	assert_null(t->stride);
	assert_int_equal(t->offset, start + 4);
	assert_int_equal(t->bytes, 12);
	t = tensor(&w, "none");
	assert_int_equal(t->offset, start + 16);
	assert_int_equal(t->bytes, 0);
	weights_fini(&w);
}

static void a_file_without_tensors_is_one(void **state)
{
	struct weights w;

	(void)state;
	accepted(file_of("{}", 0), &w);
	assert_int_equal(w.n, 0);
	weights_fini(&w);
}

static void every_dtype_has_its_size(void **state)
{
	static const struct {
		const char *name;
		unsigned size;
	} all[] = {{"BOOL", 1}, {"U8", 1},	{"I8", 1},	{"U16", 2},
		   {"I16", 2},	{"U32", 4},	{"I32", 4},	{"U64", 8},
		   {"I64", 8},	{"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F16", 2},
		   {"BF16", 2}, {"F32", 4},	{"F64", 8},	{"C64", 8},
		   {"C128", 16}};
	char header[200];

	(void)state;
	assert_int_equal(ARRAY_LEN(all), WEIGHTS_DTYPES);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct weights w;

		snprintf(header, sizeof header,
			 "{\"x\":{\"dtype\":\"%s\",\"shape\":[3],"
			 "\"data_offsets\":[0,%u]}}",
			 all[i].name, 3 * all[i].size);
		accepted(file_of(header, (size_t)3 * all[i].size), &w);
		assert_string_equal(weights_dtype_name(w.tensors[0].dtype),
				    all[i].name);
		assert_int_equal(weights_dtype_size(w.tensors[0].dtype),
				 all[i].size);
		weights_fini(&w);
	}
}

static void every_cut_is_refused(void **state)
{
	(void)state;
	refused_at_every_cut(file_of("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],"
				     "\"data_offsets\":[0,4]},"
				     "\"b\":{\"dtype\":\"I16\",\"shape\":[2,2],"
				     "\"data_offsets\":[4,12]}}",
				     12));
}

static struct buf length_of(uint64_t length, const char *rest)
{
	struct buf b = made();

	add_le(&b, length, 8);
	buf_adds(&b, rest);
	return b;
}

static void headers_of_no_file(void **state)
{
	(void)state;
	refused(made(), "has 0 bytes, which is less than the header of any");
	refused(length_of(2, "{"), "has 9 bytes, which is less");
	refused(length_of(UINT64_C(1) << 63, "{}"),
		"says that its header has 9223372036854775808 bytes");
	refused(length_of(UINT64_MAX, "{}"), "18446744073709551615 bytes");
	refused(length_of(100000001, "{}"), "100000000 are the most");
	refused(length_of(3, "{}"), "ends within its header: it was cut off");
	refused(length_of(2, "[]"), "is neither safetensors nor what");
	refused(length_of(1, "{}"), "its header is not JSON: ");
	refused(length_of(4, "{}{}"), "its header is not JSON: ");
	refused(length_of(7, "{\"\xff\":1}"), "its header is not JSON: ");
	refused(length_of(8, "{\"a\":NaN}"), "its header is not JSON: ");
	refused(length_of(2, "{} "), "1 bytes at the end belong to no tensor");
}

static void wrong(const char *members, size_t bytes, const char *words)
{
	cleanup_free char *header = mem_printf("{\"x\":{%s}}", members);

	refused(file_of(header, bytes), words);
}

static void tensors_that_are_none(void **state)
{
	(void)state;
	refused(file_of("{\"x\":5}", 0), "tensor 'x' is no object of dtype");
	wrong("\"dtype\":\"U8\",\"shape\":[1]", 1, "is no object of dtype");
	wrong("\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],"
	      "\"data_offsets\":[0,1]",
	      1, "is no object of dtype, shape and data_offsets alone");
	wrong("\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1]", 1,
	      "has data_offsets that are not");
	wrong("\"dtype\":\"F128\",\"shape\":[1],\"data_offsets\":[0,1]", 1,
	      "tensor 'x' has the dtype 'F128', which is not known here");
	wrong("\"dtype\":\"U8\\u0000\",\"shape\":[1],\"data_offsets\":[0,1]", 1,
	      "has the dtype 'U8', which is not known");
	wrong("\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]", 1,
	      "has the dtype ''");
	wrong("\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]", 1,
	      "has no shape");
	wrong("\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]", 1,
	      "has a dimension that is no number of elements");
	wrong("\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]", 1,
	      "has a dimension that is no number of elements");
	wrong("\"dtype\":\"U8\",\"shape\":[18446744073709551616],"
	      "\"data_offsets\":[0,1]",
	      1, "has a dimension that is no number of elements");
}

static void places_that_cannot_be(void **state)
{
	static const char *const not_two[] = {
		"[]", "[0]", "[0,1,2]", "[1,0]", "[-1,1]", "[0,1.0]", "{}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(not_two); i++) {
		cleanup_free char *members =
			mem_printf("\"dtype\":\"U8\",\"shape\":[1],"
				   "\"data_offsets\":%s",
				   not_two[i]);

		wrong(members, 1,
		      "has data_offsets that are not a begin and an end");
	}
	wrong("\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]", 1,
	      "tensor 'x' ends behind the file's end: it was cut off");
	wrong("\"dtype\":\"U8\",\"shape\":[1],"
	      "\"data_offsets\":[18446744073709551614,18446744073709551615]",
	      1, "ends behind the file's end");
	wrong("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1]", 1,
	      "has other bytes than its shape and dtype take");
	wrong("\"dtype\":\"U8\",\"shape\":[4294967296,4294967297],"
	      "\"data_offsets\":[0,1]",
	      1, "has other bytes than its shape and dtype take");
	wrong("\"dtype\":\"F64\",\"shape\":[2305843009213693952],"
	      "\"data_offsets\":[0,0]",
	      0, "has other bytes than its shape and dtype take");
	wrong("\"dtype\":\"U8\",\"shape\":[0,4294967296,4294967296],"
	      "\"data_offsets\":[0,0]",
	      0, "has other bytes than its shape and dtype take");
}

static struct buf two(const char *a, unsigned from_a, unsigned to_a,
		      const char *b, unsigned from_b, unsigned to_b,
		      size_t bytes)
{
	cleanup_free char *header = mem_printf(
		"{\"%s\":{\"dtype\":\"U8\",\"shape\":[%u],\"data_offsets\":[%u,"
		"%u]},\"%s\":{\"dtype\":\"U8\",\"shape\":[%u],"
		"\"data_offsets\":[%u,%u]}}",
		a, to_a - from_a, from_a, to_a, b, to_b - from_b, from_b, to_b);

	return file_of(header, bytes);
}

static void bytes_belong_to_one_tensor(void **state)
{
	struct weights w;

	(void)state;
	accepted(two("a", 2, 4, "b", 0, 2, 4), &w);
	assert_string_equal(w.tensors[0].name, "b"); /* as they lie */
	weights_fini(&w);
	refused(two("a", 0, 3, "b", 2, 4, 4), "tensor 'b' overlaps another");
	refused(two("a", 0, 4, "b", 0, 4, 4), "overlaps another");
	refused(two("a", 0, 4, "b", 2, 2, 4), "tensor 'b' overlaps another");
	refused(two("a", 0, 2, "b", 3, 4, 4),
		"tensor 'b' does not begin where the one before it ends");
	refused(two("a", 1, 2, "b", 2, 4, 4),
		"tensor 'a' does not begin where the one before it ends");
	refused(two("a", 0, 2, "b", 2, 4, 5),
		"1 bytes at the end belong to no tensor");
}

static void names_are_there_once(void **state)
{
	(void)state;
	refused(two("a", 0, 2, "a", 2, 4, 4), "tensor 'a' is there twice");
	refused(two("a", 0, 2, "\\u0061", 2, 4, 4),
		"tensor 'a' is there twice");
	refused(two("a", 0, 2, "b\\u0000c", 2, 4, 4),
		"a tensor's name has a NUL");
	refused(file_of("{\"__metadata__\":{},\"__metadata__\":{}}", 0),
		"tensor '__metadata__' is there twice");
	refused(file_of("{\"__metadata__\":[]}", 0),
		"tensor '__metadata__' is no object");
	refused(file_of("{\"__metadata__\":{\"a\":1}}", 0),
		"has a value that is no text");
}

static void words_are_plain(void **state)
{
	(void)state;
	/* Neither a control character nor half a letter gets to a log. */
	refused(file_of("{\"a\\u001b[31m\\nb\":1}", 0), "tensor 'a?[31m?b' is");
	refused(file_of("{\"\xc3\xa4\":1}", 0), "tensor '\xc3\xa4' is");
}

static void many_dimensions(void **state)
{
	struct buf header = made();
	struct weights w;

	(void)state;
	for (unsigned dims = 64; dims <= 65; dims++) {
		buf_reset(&header);
		buf_adds(&header, "{\"x\":{\"dtype\":\"U8\",\"shape\":[1");
		for (unsigned i = 1; i < dims; i++)
			buf_adds(&header, ",1");
		buf_adds(&header, "],\"data_offsets\":[0,1]}}");
		if (dims == 64) {
			accepted(file_of(buf_cstr(&header), 1), &w);
			assert_int_equal(w.tensors[0].n_dims, 64);
			weights_fini(&w);
		} else {
			refused(file_of(buf_cstr(&header), 1),
				"has more than 64 dimensions");
		}
	}
	buf_fini(&header);
}

static void deep_headers_are_no_trouble(void **state)
{
	struct buf header = made();

	(void)state;
	buf_adds(&header, "{\"x\":");
	for (unsigned i = 0; i < 100000; i++)
		buf_addc(&header, '[');
	refused(file_of(buf_cstr(&header), 0), "its header is not JSON: ");
	buf_fini(&header);
}

static void many_tensors(void **state)
{
	enum { MANY = 50000 };
	struct buf header = made();
	struct weights w;

	(void)state;
	buf_addc(&header, '{');
	for (unsigned i = 0; i < MANY; i++)
		buf_addf(&header,
			 "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[1],"
			 "\"data_offsets\":[%u,%u]}",
			 i ? "," : "", i, MANY - 1 - i, MANY - i);
	buf_addc(&header, '}');
	accepted(file_of(buf_cstr(&header), MANY), &w);
	assert_int_equal(w.n, MANY);
	assert_string_equal(w.tensors[0].name, "t49999");
	weights_fini(&w);
	buf_fini(&header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tensors_are_found),
		cmocka_unit_test(a_file_without_tensors_is_one),
		cmocka_unit_test(every_dtype_has_its_size),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(headers_of_no_file),
		cmocka_unit_test(tensors_that_are_none),
		cmocka_unit_test(places_that_cannot_be),
		cmocka_unit_test(bytes_belong_to_one_tensor),
		cmocka_unit_test(names_are_there_once),
		cmocka_unit_test(words_are_plain),
		cmocka_unit_test(many_dimensions),
		cmocka_unit_test(deep_headers_are_no_trouble),
		cmocka_unit_test(many_tensors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
