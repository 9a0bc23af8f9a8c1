#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/model.h"
#include "core/mem.h"
#include "loop/file.h"

static char path[] = "/tmp/soma-model-XXXXXX";

/* What model_data says of a file with these bytes; its names are joined. */
static int look(const char *bytes, size_t len, char *joined, struct err *err)
{
	char **names = NULL;
	size_t n = 0;
	int rc;

	*err = (struct err){0};
	assert_int_equal(file_write(path, bytes, len, 0600, err), 0);
	rc = model_data(path, &names, &n, err);
	*joined = '\0';
	for (size_t i = 0; i < n; i++) {
		strcat(joined, names[i]);
		strcat(joined, ";");
	}
	model_data_free(names, n);
	return rc;
}

#define LOOK(literal) look(literal, sizeof(literal) - 1, joined, &err)
#define LOCATION "\x0a\x08location\x12"

static void external_data_is_found_by_its_entry(void **state)
{
	char joined[512];
	struct err err;

	(void)state;
	assert_int_equal(LOOK("\x08\x08no data"), 0);
	assert_string_equal(joined, "");
	assert_int_equal(LOOK("x" LOCATION "\x06"
			      "a.data"
			      "yy" LOCATION "\x05"
			      "d/b.c" LOCATION "\x06"
			      "a.data"),
			 0);
	assert_string_equal(joined, "a.data;d/b.c;");
}

static void what_only_looks_like_an_entry_is_none(void **state)
{
	char joined[512];
	struct err err;

	(void)state;
	/* Longer than what is left; empty; a NUL inside; cut off. */
	assert_int_equal(LOOK(LOCATION "\x7f"
				       "a.data"),
			 0);
	assert_string_equal(joined, "");
	assert_int_equal(LOOK(LOCATION "\x00"
				       "a.data"),
			 0);
	assert_string_equal(joined, "");
	assert_int_equal(LOOK(LOCATION "\x03"
				       "a\0b"),
			 0);
	assert_string_equal(joined, "");
	assert_int_equal(LOOK(LOCATION), 0);
	assert_string_equal(joined, "");
	assert_int_equal(LOOK(LOCATION "\xff\xff\xff\xff\xff\x01"
				       "a"),
			 0);
	assert_string_equal(joined, "");
}

static void data_outside_the_folder_is_refused(void **state)
{
	char joined[512];
	struct err err;

	(void)state;
	assert_int_equal(LOOK(LOCATION "\x0b"
				       "/etc/passwd"),
			 E_INVALID);
	assert_string_equal(err.msg,
			    "the model keeps data in '/etc/passwd', which is "
			    "not in its folder: save it with its data beside "
			    "it");
	assert_int_equal(LOOK(LOCATION "\x06"
				       "a/../b"),
			 E_INVALID);
	assert_int_equal(LOOK(LOCATION "\x02"
				       ".."),
			 E_INVALID);
	assert_int_equal(LOOK(LOCATION "\x05"
				       "..a/b"),
			 0);
	assert_string_equal(joined, "..a/b;");
}

static void files_that_are_no_models(void **state)
{
	char **names;
	size_t n;
	struct err err = {0};

	(void)state;
	assert_int_equal(file_write(path, "", 0, 0600, &err), 0);
	assert_int_equal(model_data(path, &names, &n, &err), E_INVALID);
	assert_non_null(strstr(err.msg, "is empty: it is no ONNX model"));
	assert_int_equal(model_data("/nonexistent.onnx", &names, &n, &err),
			 E_NOTFOUND);
}

static void a_config_is_made_of_the_name(void **state)
{
	cleanup_free char *plain = model_config("My Model.onnx");
	cleanup_free char *quoted = model_config("a\"b.ONNX");

	(void)state;
	assert_string_equal(plain, "- name: my-model\n  predictor: {type: "
				   "onnx, model: \"My Model.onnx\"}\n");
	assert_string_equal(quoted, "- name: a-b\n  predictor: {type: onnx, "
				    "model: \"a\\\"b.ONNX\"}\n");
	assert_true(model_is("x.onnx") && model_is("d/x.ONNX"));
	assert_false(model_is(".onnx") || model_is("x.onnx.data"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(external_data_is_found_by_its_entry),
		cmocka_unit_test(what_only_looks_like_an_entry_is_none),
		cmocka_unit_test(data_outside_the_folder_is_refused),
		cmocka_unit_test(files_that_are_no_models),
		cmocka_unit_test(a_config_is_made_of_the_name),
	};
	int fd = mkstemp(path), failed;

	assert(fd >= 0);
	close(fd);
	failed = cmocka_run_group_tests_name("cli model", tests, NULL, NULL);
	unlink(path);
	return failed;
}
