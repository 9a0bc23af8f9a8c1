#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"
#include "host/batch.h"

static const struct soma_ports open_ports = {.open = 1};

static void read_as(struct tensors *t, const struct soma_ports *ports,
		    const char *json)
{
	struct err err = {0};

	tensors_init(t);
	if (tensors_read(t, ports, json, strlen(json), &err))
		fail_msg("%s", err.msg);
}

static int64_t rows_of(const char *json)
{
	struct tensors t;
	int64_t rows;

	read_as(&t, &open_ports, json);
	rows = batch_rows(&t);
	tensors_fini(&t);
	return rows;
}

static void rows_are_the_first_dimension_of_all(void **state)
{
	(void)state;
	assert_int_equal(rows_of("{\"x\":[1,2,3]}"), 3);
	assert_int_equal(rows_of("{\"x\":[[1],[2]],\"y\":[\"a\",\"b\"]}"), 2);
	assert_int_equal(rows_of("{\"k\":5,\"x\":[1,2]}"), 2);
	assert_int_equal(rows_of("{\"x\":[1,2],\"y\":[1]}"), 0);
	assert_int_equal(rows_of("{\"k\":5}"), 0);
	assert_int_equal(rows_of("{}"), 0);
}

static bool fit(const char *a, const char *b)
{
	struct tensors x, y;
	bool yes;

	read_as(&x, &open_ports, a);
	read_as(&y, &open_ports, b);
	yes = batch_fit(&x, &y);
	assert_int_equal(batch_fit(&y, &x), yes);
	tensors_fini(&x);
	tensors_fini(&y);
	return yes;
}

static void what_fits(void **state)
{
	(void)state;
	assert_true(fit("{\"x\":[1]}", "{\"x\":[2,3]}"));
	assert_true(fit("{\"x\":[[1,2]],\"k\":\"a\"}",
			"{\"x\":[[3,4],[5,6]],\"k\":\"a\"}"));
	assert_false(fit("{\"x\":[[1,2]]}", "{\"x\":[[1,2,3]]}"));
	assert_false(fit("{\"x\":[[1]]}", "{\"x\":[1]}"));
	assert_false(fit("{\"x\":[1]}", "{\"x\":[1.5]}"));
	assert_false(fit("{\"x\":[1]}", "{\"y\":[1]}"));
	assert_false(fit("{\"x\":[1]}", "{\"x\":[1],\"y\":[1]}"));
	assert_false(fit("{\"x\":[1],\"k\":1}", "{\"x\":[1],\"k\":2}"));
	assert_false(
		fit("{\"x\":[1],\"k\":\"a\"}", "{\"x\":[1],\"k\":\"ab\"}"));
	assert_false(fit("{\"x\":[1],\"k\":\"a\"}", "{\"x\":[1],\"k\":\"b\"}"));
}

/* The inputs come back as each one's part of the outputs. */
static void each_gets_its_own_rows(void **state)
{
	static const char *const json[] = {
		"{\"x\":[[1,2]],\"s\":[\"a\"],\"k\":7,\"none\":[[]]}",
		("{\"x\":[[3,4],[5,6]],\"s\":[\"bc\",\"\"],\"k\":7,"
		 "\"none\":[[],[]]}"),
		"{\"x\":[[7,8]],\"s\":[\"d\"],\"k\":7,\"none\":[[]]}"};
	static const char *const want[] = {
		"{\"x\":[[1,2]],\"s\":[\"a\"]}",
		"{\"x\":[[3,4],[5,6]],\"s\":[\"bc\",\"\"]}",
		"{\"x\":[[7,8]],\"s\":[\"d\"]}"};
	struct tensors t[ARRAY_LEN(json)];
	struct soma_response out = {.size = sizeof out};
	struct err err = {0};
	struct batch b;
	int64_t at = 0;

	(void)state;
	batch_init(&b, ARRAY_LEN(json));
	for (unsigned i = 0; i < ARRAY_LEN(json); i++) {
		read_as(&t[i], &open_ports, json[i]);
		batch_add(&b, &t[i]);
	}
	assert_int_equal(batch_join(&b, &err), 0);
	assert_int_equal(b.rows, 4);
	assert_int_equal(b.n_in, 4);
	for (uint32_t i = 0; i < b.n_in; i++) {
		assert_int_equal((uintptr_t)b.in[i].data % 64, 0);
		assert_int_equal(b.in[i].rank ? b.in[i].shape[0] : 4, 4);
	}
	assert_int_equal(b.in[0].count, 8);
	assert_int_equal(b.in[2].count, 1);
	assert_int_equal(b.in[3].count, 0);
	out.outputs = b.in;
	out.n_outputs = 2;
	assert_int_equal(batch_check(&b, &out, &err), 0);
	for (unsigned i = 0; i < ARRAY_LEN(json); i++) {
		int64_t rows = batch_rows(&t[i]);
		struct soma_response part = batch_cut(&b, &out, at, rows);
		struct buf text;

		at += rows;
		buf_init(&text, 1000);
		assert_int_equal(tensors_write(&text, &part, &err), 0);
		assert_string_equal(buf_cstr(&text), want[i]);
		buf_fini(&text);
	}
	/* k has no rows at all. */
	out.n_outputs = 3;
	assert_int_equal(batch_check(&b, &out, &err), E_INTERNAL);
	assert_string_equal(err.msg, "the output 'k' has 1 row where the "
				     "inputs have 4");
	batch_fini(&b);
	for (unsigned i = 0; i < ARRAY_LEN(json); i++)
		tensors_fini(&t[i]);
}

static void an_output_of_another_length_is_told(void **state)
{
	struct soma_tensor y = {.name = "y",
				.dtype = SOMA_INT64,
				.rank = 1,
				.shape = {3},
				.count = 3};
	struct soma_response out = {
		.size = sizeof out, .outputs = &y, .n_outputs = 1};
	struct batch b = {.rows = 4};
	struct err err = {0};

	(void)state;
	assert_int_equal(batch_check(&b, &out, &err), E_INTERNAL);
	assert_string_equal(err.msg, "the output 'y' has 3 rows where the "
				     "inputs have 4");
	y.shape[0] = 4;
	assert_int_equal(batch_check(&b, &out, &err), 0);
}

static void a_large_batch_gives_its_memory_back(void **state)
{
	struct tensors t;
	struct err err = {0};
	struct batch b;

	(void)state;
	read_as(&t, &open_ports, "{\"x\":[1]}");
	batch_init(&b, 2);
	for (int round = 0; round < 3; round++) {
		batch_add(&b, &t);
		batch_add(&b, &t);
		assert_int_equal(batch_join(&b, &err), 0);
		assert_int_equal(b.rows, 2);
		batch_reset(&b);
		assert_non_null(b.data);
	}
	b.data_cap = 2 << 20;
	batch_reset(&b);
	assert_null(b.data);
	batch_fini(&b);
	tensors_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_the_first_dimension_of_all),
		cmocka_unit_test(what_fits),
		cmocka_unit_test(each_gets_its_own_rows),
		cmocka_unit_test(an_output_of_another_length_is_told),
		cmocka_unit_test(a_large_batch_gives_its_memory_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
