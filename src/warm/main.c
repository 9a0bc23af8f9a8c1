/* main.c: `soma warm`. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "warm/warm.h"

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int warm_main(int argc, char **argv)
{
	uint64_t begun = now_ms(), bytes;
	struct warm_files f;

	if (argc < 2) {
		fputs("usage: soma warm PATH...\n", stderr);
		return 2;
	}
	warm_files_find(&f, (const char *const *)argv + 1, NULL);
	bytes = warm_read(&f);
	warm_files_fini(&f);
	printf("{\"bytes\":%" PRIu64 ",\"ms\":%" PRIu64 "}\n", bytes,
	       now_ms() - begun);
	return bytes ? 0 : 1;
}
