#include "test_weights_zip.h"

static const struct view square = {"FloatStorage", "0",	  16, 0, 2,
				   {4, 4},	   {4, 1}};

static void refused_view(struct view v, const char *words)
{
	refused(archive_of(pickle_of(&v)), words);
}

/* ---- right ones ---- */

static void tensors_are_found(void **state)
{
	struct buf file = archive_of(pickle_of(&square));
	const struct weights_tensor *t;
	struct weights w;
	struct err err;

	(void)state;
	assert_int_equal(parse(&w, &file, &err), 0);
	assert_int_equal(w.kind, WEIGHTS_TORCH);
	assert_int_equal(w.n, 1);
	t = tensor(&w, "w");
	assert_int_equal(t->dtype, WEIGHTS_F32);
	assert_int_equal(t->n_dims, 2);
	assert_int_equal(t->shape[1], 4);
	assert_null(t->stride);
	assert_int_equal(t->bytes, 64);
	assert_int_equal(file.data[t->offset], 1);
	assert_int_equal(file.data[t->offset - 1], 'd'); /* of the padding */
	weights_fini(&w);
	buf_fini(&file);
}

static void views_have_strides(void **state)
{
	struct view turned = square, slice = square, one = square;
	struct view scalar = {"DoubleStorage", "0", 8, 7, 0, {0}, {0}};
	struct weights w;

	(void)state;
	turned.stride[0] = 1;
	turned.stride[1] = 4;
	accepted(archive_of(pickle_of(&turned)), &w);
	assert_int_equal(w.tensors[0].stride[0], 1);
	assert_int_equal(w.tensors[0].stride[1], 4);
	assert_int_equal(w.tensors[0].bytes, 64);
	weights_fini(&w);
	slice.first = 5;
	slice.shape[0] = 2; /* 2 x 4 with a stride of 5, from 5 on: 14 */
	slice.stride[0] = 5;
	accepted(archive_of(pickle_of(&slice)), &w);
	assert_int_equal(w.tensors[0].bytes, 9 * 4);
	weights_fini(&w);
	one.shape[0] = 1; /* whatever the stride of one is */
	one.stride[0] = INT64_MAX;
	accepted(archive_of(pickle_of(&one)), &w);
	assert_null(w.tensors[0].stride);
	assert_int_equal(w.tensors[0].bytes, 16);
	weights_fini(&w);
	accepted(archive_of(pickle_of(&scalar)), &w);
	assert_int_equal(w.tensors[0].n_dims, 0);
	assert_int_equal(w.tensors[0].bytes, 8);
	weights_fini(&w);
}

static void dicts_in_dicts_have_longer_names(void **state)
{
	struct buf b = RAW("}");
	struct weights w;

	(void)state;
	pk_text(&b, "epoch");
	buf_adds(&b, "K\x05s");
	pk_text(&b, "net");
	pk_name(&b, "collections", "OrderedDict");
	buf_adds(&b, ")R(");
	pk_text(&b, "a");
	pk_tensor(&b, &square);
	pk_int(&b, 7);
	pk_tensor(&b, &square);
	buf_adds(&b, "u}b"); /* items, and attributes of it */
	buf_adds(&b, "s.");
	accepted(archive_of(b), &w);
	assert_int_equal(w.n, 2);
	assert_string_equal(w.tensors[0].name, "net.a");
	assert_string_equal(w.tensors[1].name, "net.7");
	weights_fini(&w);
}

static void one_tensor_may_have_two_names(void **state)
{
	struct buf b = RAW("}");
	struct weights w;

	(void)state;
	pk_text(&b, "a");
	pk_tensor(&b, &square);
	buf_adds(&b, "q\x05s");
	pk_text(&b, "b");
	buf_adds(&b, "h\x05s.");
	accepted(archive_of(b), &w);
	assert_int_equal(w.n, 2);
	assert_int_equal(w.tensors[0].offset, w.tensors[1].offset);
	weights_fini(&w);
}

static void newer_protocols_and_tensors(void **state)
{
	struct buf b = made();
	struct weights w;

	(void)state;
	buf_adds(&b, "\x80\x04\x95");
	add_le(&b, 20, 8);
	buf_adds(&b, "}\x94\x8c\x01x");
	buf_adds(&b, "\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v3\x93(");
	buf_addc(&b, '(');
	pk_text(&b, "storage");
	pk_name(&b, "torch.storage", "UntypedStorage");
	pk_text(&b, "0");
	pk_text(&b, "cpu");
	pk_int(&b, 64);
	buf_adds(&b, "tQK\x04K\x03\x85K\x01\x85\x89");
	pk_name(&b, "collections", "OrderedDict");
	buf_adds(&b, ")R");
	pk_name(&b, "torch", "float8_e4m3fn");
	buf_adds(&b, "tRs.");
	accepted(archive_of(b), &w);
	assert_int_equal(w.tensors[0].dtype, WEIGHTS_F8_E4M3);
	assert_int_equal(w.tensors[0].shape[0], 3);
	assert_int_equal(w.tensors[0].bytes, 3);
	weights_fini(&w);
}

/* ---- wrong tensors ---- */

static void views_stay_in_their_storage(void **state)
{
	struct view v = square;

	(void)state;
	v.first = 1;
	refused_view(v, "tensor 'w' is larger than its storage");
	v = square;
	v.elements = 17;
	refused_view(v, "is in a storage that has fewer bytes than it says");
	v = square;
	v.elements = INT64_MAX;
	refused_view(v, "is in a storage that has fewer bytes than it says");
	v = square;
	v.shape[0] = 5;
	refused_view(v, "is larger than its storage");
	v = square;
	v.stride[0] = INT64_MAX;
	refused_view(v, "is larger than its storage");
	v = square;
	v.stride[0] = v.stride[1] = INT64_MAX;
	refused_view(v, "is larger than its storage");
	v = square;
	v.first = INT64_MAX;
	refused_view(v, "is larger than its storage");
	v.shape[0] = 0; /* not even where it is empty */
	refused_view(v, "is larger than its storage");
	v = square;
	v.shape[0] = v.shape[1] = INT64_MAX;
	refused_view(v, "has more elements than there can be");
	v = square;
	v.stride[0] = 0;
	v.shape[0] = INT64_MAX / 4; /* no bytes more than four */
	v.shape[1] = 8;
	refused_view(v, "has more elements than there can be");
	v = square;
	v.key = "1";
	refused_view(v, "is in a storage that is not there");
	v.key = "../data.pkl";
	refused_view(v, "is in a storage that is not there");
}

static void numbers_below_zero(void **state)
{
	struct view v = square;

	(void)state;
	v.first = -1;
	refused_view(v, "makes a tensor of what is none");
	v = square;
	v.shape[1] = -4;
	refused_view(v, "makes a tensor of what is none");
	v = square;
	v.stride[1] = -1;
	refused_view(v, "makes a tensor of what is none");
	v = square;
	v.elements = -1;
	refused_view(v, "makes a tensor of what is none");
	v = square;
	v.class = "QInt8Storage";
	refused_view(v, "names 'torch QInt8Storage', which is code");
}

static void every_cut_is_refused(void **state)
{
	struct buf whole = pickle_of(&square);

	(void)state;
	for (size_t n = 0; n < whole.len; n++) {
		struct buf part = made();

		buf_add(&part, whole.data, n);
		refused(archive_of(part), "its data.pkl ");
	}
	buf_fini(&whole);
	refused_at_every_cut(archive_of(pickle_of(&square)));
}

/* ---- wrong pickles ---- */

static void names_of_code_are_refused(void **state)
{
	static const char *const names[][2] = {
		{"os", "system"},
		{"posix", "system"},
		{"builtins", "eval"},
		{"builtins", "getattr"},
		{"subprocess", "Popen"},
		{"torch", "load"},
		{"torch._utils", "_rebuild_tensor_v2x"},
		{"torch.hub", "load"},
		{"functools", "partial"},
		{"collections", "Counter"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		cleanup_free char *words =
			mem_printf("its data.pkl names '%s %s', which is code",
				   names[i][0], names[i][1]);
		struct buf b = made();

		buf_adds(&b, "\x80\x02");
		pk_name(&b, names[i][0], names[i][1]);
		pk_text(&b, "touch canary");
		buf_adds(&b, "\x85R.");
		refused(archive_of(b), words);
	}
	/* A name by itself is not a dict; nor is one behind a NUL another. */
	refused(archive_of(RAW("cos\nsystem\n.")), "has no dict of tensors");
	refused(archive_of(RAW("\x8c\x05torch\x8c\x05"
			       "Size\0\x93)\x85R.")),
		"which is code");
}

static void opcodes_of_code_are_refused(void **state)
{
	/* INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1, PERSID, BYTEARRAY8, NEXT_BUFFER
	 */
	static const unsigned char ops[] = {'i',  'o', 0x81, 0x92,
					    0x82, 'P', 0x96, 0x97};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		cleanup_free char *words = mem_printf(
			"has the opcode 0x%02x, which no tensor", ops[i]);
		const char op = (char)ops[i];

		refused(archive_of(raw(&op, 1)), words);
	}
	refused(archive_of(RAW("]}b.")), "sets the state of an object");
	refused(archive_of(RAW("]N\x85R.")), "calls what cannot be called");
	refused(archive_of(RAW("}Q.")), "makes a tensor of what is none");
}

static void stacks_that_are_too_short(void **state)
{
	static const char *const opcodes[] = {
		".",   "0",    "R",    "NR.",  "Q",	"b",	"}b",	 "a",
		"]a",  "s",    "N}s",  "\x85", "(\x85", "\x86", "N\x86", "q",
		"q\1", "(q\1", "\x94", "(.",   "(0",	"]s",	"\x93"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(opcodes); i++)
		refused(archive_of(raw(opcodes[i], strlen(opcodes[i]))),
			"its data.pkl ");
	refused(archive_of(RAW("t.")), "has no mark");
	refused(archive_of(RAW("}u.")), "has no mark");
	refused(archive_of(RAW("}(Nu.")), "sets items of what is no dict");
	refused(archive_of(RAW("}(NNe.")), "appends to what is no list");
	refused(archive_of(RAW("h\0.")), "recalls what it never had");
	refused(archive_of(RAW("Nr\xff\xff\xff\xff.")), "remembers too much");
	refused(archive_of(RAW("\x8a\x09")), "a number of more than 64 bits");
	refused(archive_of(RAW("X\xff\xff\xff\xff"
			       "a")),
		"ends within a text");
	refused(archive_of(RAW("\x95\3\0\0\0\0\0\0\0}.")),
		"has a frame that ends behind it");
	refused(archive_of(RAW("N.")), "has no dict of tensors");
}

static void dicts_in_themselves(void **state)
{
	struct buf b = RAW("}q\1");
	struct weights w;

	(void)state;
	pk_text(&b, "me");
	buf_adds(&b, "h\1s.");
	refused(archive_of(b), "has a dict in itself");
	b = RAW("}");
	for (unsigned i = 0; i < 40; i++) {
		pk_text(&b, "d");
		buf_addc(&b, '}');
	}
	for (unsigned i = 0; i < 40; i++)
		buf_addc(&b, 's');
	buf_addc(&b, '.');
	refused(archive_of(b), "has a dict in itself");
	/* A list in itself is nobody's to look into. */
	accepted(archive_of(RAW("}X\1\0\0\0a]q\1h\1as.")), &w);
	assert_int_equal(w.n, 0);
	weights_fini(&w);
}

static void names_that_are_none(void **state)
{
	static const struct {
		const char *key; /* an opcode that makes one */
		size_t n;
	} keys[] = {{"N", 1},
		    {"]", 1},
		    {"X\1\0\0\0\xff", 6},
		    {"X\3\0\0\0a\0b", 8},
		    {"G\0\0\0\0\0\0\0\0", 9}};
	struct buf twice = RAW("}");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct buf b = RAW("}");

		buf_add(&b, keys[i].key, keys[i].n);
		pk_tensor(&b, &square);
		buf_adds(&b, "s.");
		refused(archive_of(b), "has a tensor whose name is no text");
	}
	for (unsigned i = 0; i < 2; i++) {
		pk_text(&twice, "w");
		pk_tensor(&twice, &square);
		buf_addc(&twice, 's');
	}
	buf_addc(&twice, '.');
	refused(archive_of(twice), "tensor 'w' is there twice");
}

static void bombs_are_small(void **state)
{
	enum { STEPS = (1 << 22) + 8 };
	struct buf b = RAW("");

	(void)state;
	for (unsigned i = 0; i < STEPS; i++)
		buf_addc(&b, 'N');
	buf_addc(&b, '.');
	refused(archive_of(b), "its data.pkl ");
	b = RAW("]q\1");
	for (unsigned i = 0; i < 100000; i++)
		buf_adds(&b, "h\1a"); /* a list of itself */
	buf_adds(&b, ".");
	refused(archive_of(b), "has no dict of tensors");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tensors_are_found),
		cmocka_unit_test(views_have_strides),
		cmocka_unit_test(dicts_in_dicts_have_longer_names),
		cmocka_unit_test(one_tensor_may_have_two_names),
		cmocka_unit_test(newer_protocols_and_tensors),
		cmocka_unit_test(views_stay_in_their_storage),
		cmocka_unit_test(numbers_below_zero),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(names_of_code_are_refused),
		cmocka_unit_test(opcodes_of_code_are_refused),
		cmocka_unit_test(stacks_that_are_too_short),
		cmocka_unit_test(dicts_in_themselves),
		cmocka_unit_test(names_that_are_none),
		cmocka_unit_test(bombs_are_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
