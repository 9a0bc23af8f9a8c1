/* Runs a fuzz target over the files of a directory, once each. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX = 4 << 20 };

static int replay(const char *path)
{
	/* Exactly as large as the file: sanitizers see a step beyond it. */
	cleanup_free uint8_t *data = mem_alloc(FILE_MAX);
	cleanup_free uint8_t *exact = NULL;
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		return -1;
	}
	n = fread(data, 1, FILE_MAX, f);
	fclose(f);
	printf("%s: %zu bytes\n", path, n);
	fflush(stdout);
	exact = mem_alloc(n ? n : 1);
	memcpy(exact, data, n);
	return LLVMFuzzerTestOneInput(exact, n);
}

int main(int argc, char **argv)
{
	DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	struct dirent *entry;
	int files = 0;

	if (!dir) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	while ((entry = readdir(dir))) {
		cleanup_free char *path =
			mem_printf("%s/%s", argv[1], entry->d_name);

		if (entry->d_name[0] == '.')
			continue;
		if (replay(path) < 0)
			return 1;
		files++;
	}
	closedir(dir);
	/* A replay of nothing proves nothing. */
	return files ? 0 : 1;
}
