/* look.c: how much of some files is in the page cache, by samples. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "warm/warm.h"

enum {
	EACH = 4 << 20, /* of so many bytes ... */
	PAGES = 16,	/* ... the first pages are looked at */
};

/* Pages of the first of `bytes` that are not there. */
static size_t missing_at(void *at, size_t bytes, size_t page, size_t *ret_pages)
{
	unsigned char there[PAGES];
	size_t n = MIN((bytes + page - 1) / page, (size_t)PAGES), missing = 0;

	*ret_pages = n;
	if (mincore(at, MIN(bytes, n * page), there))
		return 0;
	for (size_t i = 0; i < n; i++)
		missing += !(there[i] & 1);
	return missing;
}

/* What has that name may be another by now, and to open some things does
 * something: a plain file is opened, or nothing. */
static int open_file(const char *path)
{
	cleanup_close int there = open(path, O_PATH | O_CLOEXEC);
	char again[32];
	struct stat st;

	if (there < 0 || fstat(there, &st) || !S_ISREG(st.st_mode))
		return -1;
	snprintf(again, sizeof again, "/proc/self/fd/%d", there);
	return open(again, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static uint64_t missing_of(const struct warm_file *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)f->size;
	cleanup_close int fd = open_file(f->path);
	size_t looked = 0, missing = 0;
	char *map;

	if (fd < 0)
		return 0;
	/* Nothing of it is touched: it may be shorter by now. */
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return 0;
	for (size_t at = 0; at < size; at += EACH) {
		size_t n;

		missing += missing_at(map + at, size - at, page, &n);
		looked += n;
	}
	munmap(map, size);
	return looked ? (uint64_t)((double)size * (double)missing /
				   (double)looked)
		      : 0;
}

struct warm_look warm_look(const char *const *paths, uint64_t most,
			   const atomic_bool *stop)
{
	struct warm_look look = {0};
	struct warm_files f;

	warm_files_find(&f, paths, stop);
	look.bytes = f.bytes;
	for (size_t i = 0; f.whole && f.bytes <= most && i < f.n &&
			   !(stop && atomic_load(stop));
	     i++)
		look.missing += missing_of(&f.items[i]);
	warm_files_fini(&f);
	return look;
}
