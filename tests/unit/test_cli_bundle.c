#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/bundle.h"
#include "core/buf.h"
#include "tmpdir.h"

struct fixture {
	char *dir;
	struct buf seen;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof *f);

	f->dir = tmpdir_make();
	buf_init(&f->seen, 1 << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	buf_fini(&f->seen);
	tmpdir_remove(f->dir);
	free(f);
	return 0;
}

/* Makes a file, and the folders above it. */
static void put(struct fixture *f, const char *name, const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s", f->dir, name);
	char *slash = strrchr(path, '/');

	*slash = '\0';
	assert_int_equal(file_mkdirs(path, 0755, NULL), 0);
	*slash = '/';
	assert_int_equal(file_write(path, text, strlen(text), 0644, NULL), 0);
}

static void put_link(struct fixture *f, const char *name, const char *to)
{
	cleanup_free char *path = mem_printf("%s/%s", f->dir, name);

	assert_int_equal(symlink(to, path), 0);
}

/* The paths of the bundle, each with a space behind, or the error. */
static const char *bundle(struct fixture *f, const char *name)
{
	cleanup_free char *path = mem_printf("%s/%s", f->dir, name);
	struct bundle b;

	f->err = (struct err){0};
	buf_reset(&f->seen);
	if (bundle_make(&b, path, &f->err) != 0)
		return f->err.msg;
	for (size_t i = 0; i < b.n_files; i++)
		buf_addf(&f->seen, "%s ", b.files[i].path);
	bundle_fini(&b);
	return buf_cstr(&f->seen);
}

static void what_python_and_tools_leave_is_left_out(void **state)
{
	struct fixture *f = *state;

	put(f, "soma.yaml", "[]");
	put(f, "other.yaml", "[]");
	put(f, "predictor.py", "x");
	put(f, "lib/soma.yaml", "not the config: kept");
	put(f, "lib/__pycache__/a.pyc", "x");
	put(f, "lib/b.pyc", "x");
	put(f, ".git/HEAD", "x");
	put(f, ".env", "A=1");
	put(f, ".hidden/x", "x");
	put(f, "env/pyvenv.cfg", "x");
	put(f, "env/bin/python", "x");
	put(f, "a b/\xc3\xa9.txt", "x");
	assert_string_equal(bundle(f, ""),
			    ".env a b/\xc3\xa9.txt lib/soma.yaml other.yaml "
			    "predictor.py ");
	assert_string_equal(bundle(f, "other.yaml"),
			    ".env a b/\xc3\xa9.txt lib/soma.yaml predictor.py "
			    "soma.yaml ");
}

static void ignore_files_weigh_more_the_nearer_to_soma(void **state)
{
	struct fixture *f = *state;

	put(f, "cortex.yaml", "[]");
	put(f, "a.bin", "x");
	put(f, "b.bin", "x");
	put(f, "c.bin", "x");
	put(f, "data/x", "x");
	put(f, ".env", "x");
	put(f, ".streamlit/config", "x");
	put(f, ".gitignore", "*.bin\n.env\n");
	assert_string_equal(bundle(f, ""), ".env data/x ");
	put(f, ".cortexignore", "data/\n!b.bin\n");
	assert_string_equal(bundle(f, ""), ".env b.bin ");
	put(f, ".somaignore", "!a.bin\n!.streamlit/\n.env\n");
	assert_string_equal(bundle(f, ""), ".streamlit/config a.bin b.bin ");
}

static void links_are_followed_once(void **state)
{
	struct fixture *f = *state;

	put(f, "p/soma.yaml", "[]");
	put(f, "shared/m.txt", "x");
	put_link(f, "p/shared", "../shared");
	put_link(f, "p/m.txt", "../shared/m.txt");
	assert_string_equal(bundle(f, "p"), "m.txt shared/m.txt ");

	put_link(f, "p/broken", "nowhere");
	assert_non_null(strstr(bundle(f, "p"),
			       "'broken' is a symbolic link to nothing"));
	put(f, "p/.somaignore", "broken\n");
	assert_string_equal(bundle(f, "p"), "m.txt shared/m.txt ");

	put_link(f, "shared/up", "../p");
	assert_non_null(strstr(bundle(f, "p"),
			       "'shared/up' is a symbolic link to a folder "
			       "that it is in"));
}

static void what_is_too_much_is_refused(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *big = mem_printf("%s/models/big.bin", f->dir);
	cleanup_free char *pipe = mem_printf("%s/pipe", f->dir);
	struct bundle b;
	const char *text;

	put(f, "soma.yaml", "[]");
	put(f, "models/small", "x");
	assert_int_equal(mkfifo(pipe, 0600), 0);
	assert_string_equal(bundle(f, ""), "models/small ");
	put(f, "models/big.bin", "x");
	assert_int_equal(truncate(big, 600 << 20), 0);
	text = bundle(f, "");

	assert_non_null(strstr(text, "too large: 600 MiB in 2 files (at "
				     "most 512 MiB in 20000 files)"));
	assert_non_null(strstr(text, ".somaignore"));
	assert_non_null(strstr(text, "models/big.bin"));

	assert_int_equal(bundle_make(&b, "/nonexistent/x.yaml", &f->err),
			 E_NOTFOUND);
	assert_int_equal(unlink(big), 0);
	setenv("HOME", f->dir, 1);
	assert_non_null(strstr(bundle(f, ""), "is your home folder"));
	unsetenv("HOME");
	assert_non_null(strstr(bundle(f, "models"),
			       "there is no soma.yaml or cortex.yaml in"));
}

static void files_have_hash_size_and_mode(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *run = mem_printf("%s/run.sh", f->dir);
	struct bundle b;

	put(f, "soma.yaml", "- name: x\n");
	put(f, "run.sh", "abc");
	assert_int_equal(chmod(run, 0750), 0);
	assert_int_equal(bundle_make(&b, f->dir, &f->err), 0);
	assert_string_equal(b.config_name, "soma.yaml");
	assert_string_equal(b.config, "- name: x\n");
	assert_int_equal(b.n_files, 1);
	assert_int_equal(b.bytes, 3);
	assert_int_equal(b.files[0].mode, 0750);
	assert_string_equal(b.files[0].sha256,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb4"
			    "10ff61f20015ad");
	bundle_fini(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_python_and_tools_leave_is_left_out),
		T(ignore_files_weigh_more_the_nearer_to_soma),
		T(links_are_followed_once),
		T(what_is_too_much_is_refused),
		T(files_have_hash_size_and_mode),
	};

	return cmocka_run_group_tests_name("cli bundle", tests, NULL, NULL);
}
