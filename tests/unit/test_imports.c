/* imports.c and base_packages.c: what a project imports, and what is installed
 * for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/mem.h"
#include "serve/base_packages.h"
#include "serve/imports.h"
#include "tmpdir.h"

static void on_module(void *data, struct str module)
{
	struct buf *b = data;

	if (b->len)
		buf_addc(b, ' ');
	buf_add(b, module.p, module.n);
}

static void assert_imports(const char *text, const char *want)
{
	struct buf b;

	buf_init(&b, 1 << 16);
	imports_scan(str_of(text), on_module, &b);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void test_statements(void **state)
{
	(void)state;
	assert_imports("", "");
	assert_imports("import os", "os");
	assert_imports("import os, boto3 as b, a.b.c as d\nx = 1",
		       "os boto3 a.b.c");
	assert_imports("from PIL import Image", "PIL");
	assert_imports("from google.cloud import (\n  storage,\n)",
		       "google.cloud");
	assert_imports("try: import a\nexcept ImportError: import b; import c",
		       "a b c");
	assert_imports("def f():\n\tfrom a import *\n\timport b", "a b");
	assert_imports("import a \\\n  , b\r\nimport c\r\n", "a b c");
	assert_imports("\xef\xbb\xbfimport b\nimport c", "b c");
}

static void test_what_only_looks_like_one(void **state)
{
	(void)state;
	assert_imports("# import a\nx = 1 # import b\n", "");
	assert_imports("'import a'; \"import b\\\" import c\"", "");
	assert_imports("'''\nimport a\n''' ; import b", "b");
	assert_imports("x = r\"\"\"\nimport a \\\"\"\"\n\"\"\"\nimport b", "b");
	assert_imports("x = 'open\nimport b", "b");
	assert_imports("from . import a\nfrom .b import c\nfrom ..d.e import f",
		       "");
	assert_imports("def g():\n  yield from x\n  raise a from b\nimport c",
		       "c");
	assert_imports("reimport a; importer = 1; x.important", "");
}

static void test_any_text_ends(void **state)
{
	static const char *const texts[] = {
		"import",	"from",	       "from .",      "import a.",
		"import a as",	"import ,,,",  "from a.b.",   "'''",
		"\"",		"import a,\\", "from import", "import import",
		"from from a",	"\\",	       "import \xff", "'\\",
		"from . import"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct buf b;

		/* A copy without the NUL, for what reads past its end. */
		size_t n = strlen(texts[i]);
		char *copy = malloc(n);

		buf_init(&b, 1 << 16);
		imports_scan((struct str){memcpy(copy, texts[i], n), n},
			     on_module, &b);
		buf_fini(&b);
		free(copy);
	}
}

/* ---- the packages ---- */

static char *root;

static void put(const char *name, const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s", root, name);
	cleanup_free char *dir =
		mem_strndup(path, (size_t)(strrchr(path, '/') - path));

	assert_int_equal(file_mkdirs(dir, 0755, NULL), 0);
	assert_int_equal(file_write(path, text, strlen(text), 0644, NULL), 0);
}

static void assert_installed(const struct spec *spec, const char *want)
{
	struct package_rows rows;
	struct buf b;

	buf_init(&b, 1 << 16);
	base_packages_imported(&rows, spec, root);
	for (size_t i = 0; i < rows.n; i++)
		on_module(&b, (struct str){rows.rows[i],
					   strcspn(rows.rows[i], "|")});
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void test_the_projects_imports(void **state)
{
	struct spec spec = {
		.predictor = {.type = PREDICTOR_PYTHON,
			      .path = "src/predictor.py",
			      .base_packages = BASE_PACKAGES_CORTEX}};

	(void)state;
	root = tmpdir_make();
	put("src/predictor.py", "import boto3, os, six, requests\n"
				"import flask, numpy.linalg, numpyro\n");
	put("src/deep/er/train.py", "from sklearn.svm import SVC\nimport tqdm");
	put("src/six.py", "");
	put("lib/requests/__init__.py", "");
	put("tqdm/weights.bin", "");
	put(".hidden/x.py", "import torch");
	put("notes.txt", "import pandas");
	/* A folder alone is no module that comes before an installed one. */
	assert_installed(&spec, "boto3 numpy requests scikit-learn tqdm");
	spec.predictor.python_path = "lib";
	assert_installed(&spec, "boto3 numpy scikit-learn tqdm");
	spec.predictor.base_packages = BASE_PACKAGES_NONE;
	assert_installed(&spec, "");
	tmpdir_remove(root);
}

/* By mistake somebody's code came along: the loop does not wait for all of it,
 * and the predictor's own file counts in any case. */
static void test_a_large_project(void **state)
{
	enum { FILES = 3000, LINES = 60000 };
	struct spec spec = {
		.predictor = {.type = PREDICTOR_PYTHON,
			      .path = "predictor.py",
			      .base_packages = BASE_PACKAGES_CORTEX}};
	cleanup_free char *first = NULL;
	struct buf text;

	(void)state;
	root = tmpdir_make();
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < LINES; i++)
		buf_adds(&text, "import a, b, c\n");
	put("0.py", buf_cstr(&text));
	buf_fini(&text);
	first = mem_printf("%s/0.py", root);
	for (size_t i = 1; i < FILES; i++) {
		cleanup_free char *other = mem_printf("%s/%zu.py", root, i);

		assert_int_equal(link(first, other), 0);
	}
	put("predictor.py", "import boto3\n");
	assert_installed(&spec, "boto3");
	tmpdir_remove(root);
}

static void test_what_an_onnx_class_needs(void **state)
{
	struct spec spec = {.predictor = {.type = PREDICTOR_PYTHON}};
	struct package_rows rows;

	(void)state;
	base_packages_needed(&rows, &spec);
	assert_int_equal(rows.n, 0);
	spec.predictor.klass = CLASS_ONNX_PREDICTOR;
	base_packages_needed(&rows, &spec);
	assert_int_equal(rows.n, 2);
	assert_string_equal(rows.rows[0], "onnxruntime|onnxruntime-gpu");
	assert_string_equal(rows.rows[1], "numpy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statements),
		cmocka_unit_test(test_what_only_looks_like_one),
		cmocka_unit_test(test_any_text_ends),
		cmocka_unit_test(test_the_projects_imports),
		cmocka_unit_test(test_a_large_project),
		cmocka_unit_test(test_what_an_onnx_class_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
