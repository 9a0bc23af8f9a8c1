/* interpreter.c: which of several Pythons a project gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "loop/file.h"
#include "serve/environment_parts.h"
#include "tmpdir.h"

enum { SOMEBODY = 61184 };

static char *root;

/* A program of that name; none of these is ever run. */
static void put(const char *dir, const char *name)
{
	cleanup_free char *folder = mem_printf("%s/%s", root, dir);
	cleanup_free char *path = mem_printf("%s/%s", folder, name);

	assert_int_equal(file_mkdirs(folder, 0755, NULL), 0);
	assert_int_equal(file_copy("/proc/self/exe", path, 0755, NULL), 0);
}

static void put_text(const char *dir, const char *name, const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s/%s", root, dir, name);

	assert_int_equal(file_write(path, text, strlen(text), 0755, NULL), 0);
}

static int setup(void **state)
{
	cleanup_free char *shims = NULL, *pyenv = NULL;

	(void)state;
	root = tmpdir_make();
	chmod(root, 0755);
	put("pyenv/versions/3.9.2/bin", "python3.9x");
	put("pyenv/versions/3.9.18/bin", "python3.9x");
	put("path", "python3.8x");
	put_text("path", "python3.9x", "#!/bin/sh\nexec pyenv\n");
	shims = mem_printf("%s/path", root);
	pyenv = mem_printf("%s/pyenv", root);
	setenv("PATH", shims, 1);
	setenv("PYENV_ROOT", pyenv, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tmpdir_remove(root);
	return 0;
}

static void assert_named(const char *name, const char *want)
{
	cleanup_free char *python = NULL;
	cleanup_free char *path = mem_printf("%s/%s", root, want);
	struct err err = {0};
	bool venv = true;

	assert_int_equal(
		interpreter__named(name, root, SOMEBODY, &python, &venv, &err),
		0);
	assert_string_equal(python, path);
	assert_false(venv);
}

static void assert_refused(const char *name, uid_t uid, const char *words)
{
	char *python = NULL;
	struct err err = {0};
	bool venv;

	assert_int_equal(
		interpreter__named(name, root, uid, &python, &venv, &err),
		E_UNPROCESSABLE);
	if (!strstr(err.msg, words))
		fail_msg("not in '%s': %s", err.msg, words);
}

static void test_a_word_is_looked_up(void **state)
{
	(void)state;
	assert_named("python3.8x", "path/python3.8x");
	/* The script on PATH is pyenv's shim: the newest that it stands for. */
	assert_named("python3.9x", "pyenv/versions/3.9.18/bin/python3.9x");
	assert_refused("python3.7x", SOMEBODY,
		       "names 'python3.7x', which is "
		       "not in /usr/local/bin");
}

static void test_what_is_out_of_reach_is_passed_over(void **state)
{
	cleanup_free char *newest =
		mem_printf("%s/pyenv/versions/3.9.18", root);
	cleanup_free char *pyenv = mem_printf("%s/pyenv", root);

	(void)state;
	chmod(newest, 0700);
	assert_named("python3.9x", "pyenv/versions/3.9.2/bin/python3.9x");
	chmod(pyenv, 0700);
	assert_refused("python3.9x", SOMEBODY, "passed over");
	assert_refused("python3.9x", SOMEBODY, "only for its owner");
	chmod(pyenv, 0755);
}

static void test_paths_count_from_the_project(void **state)
{
	cleanup_free char *cfg = mem_printf("%s/venv/pyvenv.cfg", root);
	cleanup_free char *want = mem_printf("%s/venv/bin/python", root);
	cleanup_free char *python = NULL;
	struct err err = {0};
	bool venv = false;

	(void)state;
	put("venv/bin", "python");
	assert_int_equal(file_write(cfg, "", 0, 0644, NULL), 0);
	assert_int_equal(
		interpreter__named("./venv", root, 0, &python, &venv, &err), 0);
	assert_true(venv);
	assert_true(strstr(python, "venv/bin/python"));
	free(mem_take(&python));
	venv = false;
	assert_int_equal(
		interpreter__named(want, root, 0, &python, &venv, &err), 0);
	assert_true(venv);
	assert_string_equal(python, want);
	assert_refused("./path", 0, "no virtual environment");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_word_is_looked_up),
		cmocka_unit_test(test_what_is_out_of_reach_is_passed_over),
		cmocka_unit_test(test_paths_count_from_the_project),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
