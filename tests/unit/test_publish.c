#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"
#include "daemon/publish.h"
#include "loop/file.h"
#include "tmpdir.h"

enum { BIG = 5 << 20 };

/* Publishes a host with a big library. Whether that is then the same file. */
static bool is_shared(mode_t mode, uid_t owner)
{
	cleanup_free char *root = tmpdir_make();
	cleanup_free char *from = mem_printf("%s/from", root);
	cleanup_free char *program = mem_printf("%s/soma-host", from);
	cleanup_free char *library = mem_printf("%s/lib.so", from);
	cleanup_free char *data = mem_alloc(BIG);
	cleanup_free char *dir = NULL, *copy = NULL;
	struct err err = {0};
	struct stat a, b;

	assert_int_equal(file_mkdirs(from, 0755, &err), 0);
	assert_int_equal(file_write(program, "x", 1, 0755, &err), 0);
	assert_int_equal(file_write(library, data, BIG, 0644, &err), 0);
	assert_int_equal(chmod(library, mode), 0);
	assert_int_equal(chown(library, owner, (gid_t)-1), 0);
	setenv("SOMA_HOST_DIR", from, 1);
	assert_int_equal(publish_host(root, &dir, &err), 0);
	copy = mem_printf("%s/lib.so", dir);
	assert_int_equal(stat(library, &a), 0);
	assert_int_equal(stat(copy, &b), 0);
	assert_int_equal(b.st_size, BIG);
	/* Whoever's it was, every replica can read it. */
	assert_int_equal(b.st_mode & 0444, 0444);
	if (a.st_ino != b.st_ino) {
		assert_int_equal(b.st_mode & 022, 0);
		assert_int_equal(b.st_uid, geteuid());
	}
	file_remove_tree(root, NULL);
	return a.st_ino == b.st_ino;
}

static void a_library_is_shared_that_only_we_can_change(void **state)
{
	(void)state;
	assert_true(is_shared(0644, geteuid()));
	assert_true(is_shared(0755, geteuid()));
	assert_false(is_shared(0664, geteuid()));
	assert_false(is_shared(0646, geteuid()));
	assert_false(is_shared(0640, geteuid()));
	if (geteuid() == 0)
		assert_false(is_shared(0644, 12345));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_library_is_shared_that_only_we_can_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
