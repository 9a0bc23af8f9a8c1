/* What a fork writes to is copied for the next one before that writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/touched.h"

enum { PAGES = 64 };

static const int some[] = {3, 4, 5, 40};
static int unmapped = -1;

/* Between two pages that nobody may touch: a mapping of its own. */
static char *make_heap(size_t page)
{
	char *heap = mmap(NULL, (PAGES + 2) * page, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(heap != MAP_FAILED);
	heap += page;
	assert_int_equal(mprotect(heap, PAGES * page, PROT_READ | PROT_WRITE),
			 0);
	madvise(heap, PAGES * page, MADV_NOHUGEPAGE);
	memset(heap, 1, PAGES * page);
	return heap;
}

/* Whether the kernel says that the page is in no other process. */
static bool is_own(const char *at, size_t page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	ssize_t n = pread(fd, &entry, sizeof entry,
			  (off_t)((uintptr_t)at / page * sizeof entry));

	close(fd);
	return n == sizeof entry && (entry >> 56 & 1);
}

static int in_child(void (*run)(char *heap, size_t page), char *heap,
		    size_t page)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		run(heap, page);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void writes_to_some(char *heap, size_t page)
{
	for (size_t i = 0; i < sizeof some / sizeof *some; i++)
		heap[(size_t)some[i] * page] = 2;
	touched_note();
	touched_note(); /* once is enough */
	_exit(0);
}

static void has_these_alone(char *heap, size_t page)
{
	int wrong = 0;

	touched_ahead();
	for (int k = 0; k < PAGES; k++) {
		bool wanted = k == 3 || k == 4 || k == 5 || k == 40;

		if (k == unmapped)
			continue;
		wrong += is_own(heap + (size_t)k * page, page) != wanted;
		wrong += heap[(size_t)k * page] != 1;
	}
	_exit(wrong);
}

static void has_none(char *heap, size_t page)
{
	int wrong = 0;

	touched_ahead();
	for (int k = 0; k < PAGES; k++)
		wrong += is_own(heap + (size_t)k * page, page);
	_exit(wrong);
}

static void pages_are_copied_ahead(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *heap = make_heap(page);

	(void)state;
	/* Of nobody, nothing. */
	assert_int_equal(in_child(has_none, heap, page), 0);
	touched_init();
	assert_int_equal(in_child(has_none, heap, page), 0);
	assert_int_equal(in_child(writes_to_some, heap, page), 0);
	assert_int_equal(in_child(has_these_alone, heap, page), 0);
	assert_int_equal(in_child(has_these_alone, heap, page), 0);
	/* One that is no longer mapped takes nothing from the others. */
	unmapped = 40;
	munmap(heap + (size_t)unmapped * page, page);
	assert_int_equal(in_child(has_these_alone, heap, page), 0);
	munmap(heap - page, (PAGES + 2) * page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_copied_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
