#include "box/footprint.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "box/tree.h"

static uint64_t pss_of(pid_t pid)
{
	unsigned long long kib, sum = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
	f = fopen(path, "re");
	while (f && !sum && fgets(line, sizeof line, f))
		if (sscanf(line, "Pss: %llu kB", &kib) == 1)
			sum = kib * 1024;
	if (f)
		fclose(f);
	return sum;
}

uint64_t footprint_of(pid_t pid)
{
	pid_t pids[TREE_MAX];
	size_t n = tree_of(pid, pids);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += pss_of(pids[i]);
	return sum;
}

uint64_t resident_of(pid_t pid)
{
	unsigned long long pages = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%*u %llu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t cpu_time_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (pid <= 0 || clock_getcpuclockid(pid, &clock) ||
	    clock_gettime(clock, &t))
		return 0;
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}
