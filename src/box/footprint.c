#include "box/footprint.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "box/tree.h"
#include "core/mem.h"

/* Calls `line` for each "KEY: N kB" of a file of /proc/PID. */
static void each_number(pid_t pid, const char *file,
			void (*line)(void *data, const char *key,
				     uint64_t bytes),
			void *data)
{
	char path[64], text[256], key[64];
	unsigned long long kib;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
	f = fopen(path, "re");
	while (f && fgets(text, sizeof text, f))
		if (sscanf(text, "%63[^:]: %llu kB", key, &kib) == 2)
			line(data, key, (uint64_t)kib * 1024);
	if (f)
		fclose(f);
}

struct smaps {
	uint64_t pss, anon, files, shmem;
	bool split; /* the kernel tells one from the other: 5.4 and later */
};

static void on_smaps(void *data, const char *key, uint64_t bytes)
{
	struct smaps *s = data;

	if (strcmp(key, "Pss") == 0)
		s->pss = bytes;
	else if (strcmp(key, "Pss_Anon") == 0)
		s->anon = bytes;
	else if (strcmp(key, "Pss_Shmem") == 0)
		s->shmem = bytes;
	else if (strcmp(key, "Pss_File") == 0)
		s->files = bytes;
	s->split = s->split || strcmp(key, "Pss_File") == 0;
}

struct status {
	uint64_t now, most;
};

static void on_status(void *data, const char *key, uint64_t bytes)
{
	struct status *s = data;

	if (strcmp(key, "VmRSS") == 0)
		s->now = bytes;
	else if (strcmp(key, "VmHWM") == 0)
		s->most = bytes;
}

static void add(struct footprint *sum, pid_t pid)
{
	struct smaps maps = {.pss = 0};
	struct status status = {.now = 0};

	each_number(pid, "smaps_rollup", on_smaps, &maps);
	each_number(pid, "status", on_status, &status);
	sum->all += maps.pss;
	sum->own += maps.split ? maps.anon + maps.shmem : maps.pss;
	sum->files += maps.files;
	sum->more += status.most - MIN(status.now, status.most);
}

struct footprint footprint_of(pid_t pid)
{
	pid_t pids[TREE_MAX];
	size_t n = tree_of(pid, pids);
	struct footprint sum = {.all = 0};

	for (size_t i = 0; i < n; i++)
		add(&sum, pids[i]);
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
