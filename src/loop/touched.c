#include "loop/touched.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/mem.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum {
	RUNS_MAX = 2048,
	PAGES_MAX = 8192,	 /* noted: more are no few that a start needs */
	LOOKED_AT_MAX = 1 << 18, /* of one mapping, and of all: what has more is
				    a large model, or reserved for one */
	ENTRIES = 2048,		 /* of the page map, read at once */
};

/* Of memory that the zygote and its forks share. */
static struct {
	atomic_bool noted, there;
	uint32_t n;
	struct {
		uintptr_t at;
		size_t bytes;
	} run[RUNS_MAX];
} * touched;

void touched_init(void)
{
	void *p = mmap(NULL, sizeof *touched, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	if (madvise(p, sizeof *touched, MADV_POPULATE_WRITE)) /* too old */
		munmap(p, sizeof *touched);
	else
		touched = p;
}

void touched_ahead(void)
{
	uint32_t n;

	if (!touched || !atomic_load(&touched->there))
		return;
	n = MIN(touched->n, (uint32_t)RUNS_MAX);
	/* One that is not mapped yet, or no longer to be written to, fails, and
	 * others do not. */
	for (uint32_t i = 0; i < n; i++)
		madvise((void *)touched->run[i].at, touched->run[i].bytes,
			MADV_POPULATE_WRITE);
}

static bool add(uintptr_t at, size_t page)
{
	uint32_t n = touched->n;

	if (n && touched->run[n - 1].at + touched->run[n - 1].bytes == at) {
		touched->run[n - 1].bytes += page;
		return true;
	}
	if (n == RUNS_MAX)
		return false;
	touched->run[n].at = at;
	touched->run[n].bytes = page;
	touched->n++;
	return true;
}

/* Present, no file's, and mapped by nobody else: ours alone. */
static bool is_own(uint64_t entry)
{
	return entry >> 63 && !(entry >> 61 & 1) && (entry >> 56 & 1);
}

/* What was counted so far. */
struct look {
	int pagemap;
	size_t page; /* its size */
	size_t noted, looked_at;
};

static bool note_range(struct look *l, uintptr_t from, uintptr_t to)
{
	uint64_t entries[ENTRIES];

	if ((to - from) / l->page > LOOKED_AT_MAX - l->looked_at)
		return true;
	while (from < to) {
		size_t n = MIN((to - from) / l->page, (size_t)ENTRIES);
		ssize_t got = pread(l->pagemap, entries, n * sizeof *entries,
				    (off_t)(from / l->page * sizeof *entries));

		if (got < (ssize_t)sizeof *entries)
			return false;
		n = (size_t)got / sizeof *entries;
		for (size_t i = 0; i < n; i++)
			if (is_own(entries[i]) &&
			    (++l->noted > PAGES_MAX ||
			     !add(from + i * l->page, l->page)))
				return false;
		from += n * l->page;
		l->looked_at += n;
	}
	return true;
}

static bool note_all(FILE *maps, int pagemap)
{
	struct look l = {.pagemap = pagemap,
			 .page = (size_t)sysconf(_SC_PAGESIZE)};
	char line[512], access[8];
	uintptr_t from, to;

	while (fgets(line, sizeof line, maps))
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &from, &to,
			   access) == 3 &&
		    strcmp(access, "rw-p") == 0 && !note_range(&l, from, to))
			return false;
	return true;
}

void touched_note(void)
{
	FILE *maps;
	int pagemap;

	if (!touched || atomic_load(&touched->noted) ||
	    atomic_exchange(&touched->noted, true))
		return;
	maps = fopen("/proc/self/maps", "re");
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (maps && pagemap >= 0 && note_all(maps, pagemap))
		atomic_store(&touched->there, true);
	if (maps)
		fclose(maps);
	if (pagemap >= 0)
		close(pagemap);
}
