/* What a process takes of memory, for itself and of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "box/footprint.h"
#include "core/mem.h"
#include "tmpdir.h"

#define MIB ((size_t)1 << 20)

static void what_is_written_is_its_own(void **state)
{
	struct footprint before = footprint_of(getpid()), after, later;
	void *p = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(before.all > 0 && before.own > 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 1, 32 * MIB);
	after = footprint_of(getpid());
	assert_true(after.own >= before.own + 31 * MIB);
	assert_true(after.all >= before.all + 31 * MIB);
	assert_true(after.files < before.files + 8 * MIB);
	/* What it once had is remembered. */
	munmap(p, 32 * MIB);
	later = footprint_of(getpid());
	assert_true(later.own + 31 * MIB <= after.own);
	assert_true(later.more >= 24 * MIB);
	assert_true(resident_of(getpid()) > 0);
}

static void what_is_mapped_is_of_files(void **state)
{
	char *dir = tmpdir_make();
	cleanup_free char *path = mem_printf("%s/weights", dir);
	struct footprint before, after;
	volatile unsigned char sum = 0;
	FILE *f = fopen(path, "w+e");
	const unsigned char *p;

	(void)state;
	assert_non_null(f);
	for (size_t i = 0; i < 32 * MIB / 4096; i++) {
		char page[4096] = {(char)i};

		assert_int_equal(fwrite(page, 1, sizeof page, f), 4096);
	}
	fflush(f);
	before = footprint_of(getpid());
	if (!before.files) {
		/* A kernel before 5.4 does not tell one from the other. */
		fclose(f);
		tmpdir_remove(dir);
		skip();
	}
	p = mmap(NULL, 32 * MIB, PROT_READ, MAP_SHARED, fileno(f), 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	for (size_t i = 0; i < 32 * MIB; i += 4096)
		sum = (unsigned char)(sum + p[i]);
	after = footprint_of(getpid());
	/* A tmpfs is memory: its pages are counted as its own. */
	assert_true(after.files + after.own >=
		    before.files + before.own + 31 * MIB);
	munmap((void *)(uintptr_t)p, 32 * MIB);
	fclose(f);
	tmpdir_remove(dir);
}

static void one_that_is_gone_takes_nothing(void **state)
{
	(void)state;
	assert_int_equal(footprint_of(-1).all, 0);
	assert_int_equal(resident_of(-1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_its_own),
		cmocka_unit_test(what_is_mapped_is_of_files),
		cmocka_unit_test(one_that_is_gone_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
