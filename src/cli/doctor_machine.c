/* What the machine has for replicas: processors, memory, accelerators. */
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "core/str.h"

enum { FILES_WANTED = 4096, CPUS_MAX = 4096 };
static const uint64_t MEMORY_WANTED = 512ull << 20;

void doctor_processors(struct doctor *d, struct finding *f)
{
	cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
	size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
	long all = sysconf(_SC_NPROCESSORS_ONLN);
	int own = (int)all;

	(void)d;
	if (set && sched_getaffinity(0, size, set) == 0)
		own = CPU_COUNT_S(size, set);
	CPU_FREE(set);
	finding_set(f, DOCTOR_OK, "%d", own);
	if (own < all)
		finding_add(f, "of the machine's %ld", all);
}

/* A line of /proc/meminfo, in bytes; 0: not there. */
static uint64_t meminfo(const char *name)
{
	FILE *in = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long long kb = 0;
	size_t n = strlen(name);

	while (in && kb == 0 && fgets(line, sizeof line, in))
		if (strncmp(line, name, n) == 0 && line[n] == ':')
			sscanf(line + n + 1, "%llu", &kb);
	if (in)
		fclose(in);
	return (uint64_t)kb << 10;
}

void doctor_memory(struct doctor *d, struct finding *f)
{
	uint64_t all = meminfo("MemTotal"), left = meminfo("MemAvailable");
	char a[32], b[32];

	(void)d;
	finding_set(f, left < MEMORY_WANTED ? DOCTOR_WARNING : DOCTOR_OK,
		    "%s available of %s", str_human_bytes(left, a),
		    str_human_bytes(all, b));
}

void doctor_files(struct doctor *d, struct finding *f)
{
	struct rlimit limit;

	(void)d;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max == RLIM_INFINITY)
		finding_set(f, DOCTOR_OK, "no limit");
	else
		finding_set(f,
			    limit.rlim_max < FILES_WANTED ? DOCTOR_WARNING
							  : DOCTOR_OK,
			    "at most %llu in a process",
			    (unsigned long long)limit.rlim_max);
}

void doctor_clock(struct doctor *d, struct finding *f)
{
	struct timex t = {.modes = 0};
	time_t now = time(NULL);
	char text[64];
	struct tm tm;

	(void)d;
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC",
		 gmtime_r(&now, &tm));
	if (adjtimex(&t) == TIME_ERROR)
		finding_set(f, DOCTOR_WARNING,
			    "%s, and nothing says that it is right", text);
	else
		finding_set(f, DOCTOR_OK, "%s, kept by a time service", text);
}

static size_t count(const char *pattern)
{
	glob_t found;
	size_t n = 0;

	if (glob(pattern, 0, NULL, &found) == 0) {
		n = found.gl_pathc;
		globfree(&found);
	}
	return n;
}

static void devices(struct finding *f, const char *pattern)
{
	size_t n = count(pattern);

	if (n > 0)
		finding_set(f, DOCTOR_OK, "%zu (%s)", n, pattern);
	else
		finding_set(f, DOCTOR_NONE, "none here");
}

void doctor_nvidia(struct doctor *d, struct finding *f)
{
	(void)d;
	devices(f, "/dev/nvidia[0-9]*");
}

void doctor_neuron(struct doctor *d, struct finding *f)
{
	(void)d;
	devices(f, "/dev/neuron[0-9]*");
}

void doctor_tpu(struct doctor *d, struct finding *f)
{
	(void)d;
	devices(f, "/dev/accel[0-9]*");
}
