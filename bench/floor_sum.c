/* The floor of loading weights: every byte of a file, summed once.
 *
 *   floor_sum map FILE     maps it and sums what is there
 *   floor_sum read FILE    reads it piece by piece and sums those
 *   floor_sum copy BYTES   copies so many from memory to memory
 *
 * prints {"ms", "sum"}. As a shared library it is floor_sum(), with which
 * all who are compared sum the same way. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 20, COPY = 64 << 20 };

uint64_t floor_sum(const void *data, size_t n);

/* Of the bytes as 64-bit words, those behind the last one by one. Four sums,
 * so that an addition need not wait for the one before it. */
uint64_t floor_sum(const void *data, size_t n)
{
	const unsigned char *p = data;
	uint64_t sum[4] = {0}, word[4];

	for (; n >= sizeof word; n -= sizeof word, p += sizeof word) {
		memcpy(word, p, sizeof word);
		for (int i = 0; i < 4; i++)
			sum[i] += word[i];
	}
	while (n--)
		sum[0] += *p++;
	return sum[0] + sum[1] + sum[2] + sum[3];
}

static void die(const char *what)
{
	fprintf(stderr, "floor_sum: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int open_file(const char *path, size_t *ret_size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		die(path);
	*ret_size = (size_t)st.st_size;
	return fd;
}

static uint64_t map(const char *path)
{
	size_t size;
	int fd = open_file(path, &size);
	void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (data == MAP_FAILED)
		die("mmap");
	return floor_sum(data, size);
}

static uint64_t read_pieces(const char *path)
{
	static unsigned char piece[PIECE];
	size_t size;
	int fd = open_file(path, &size);
	uint64_t sum = 0;
	ssize_t n;

	while ((n = read(fd, piece, sizeof piece)) > 0)
		sum += floor_sum(piece, (size_t)n);
	if (n < 0)
		die("read");
	return sum;
}

/* Both sides are written to before the clock runs: memory has to be there. */
static uint64_t copy(uint64_t bytes, double *ret_begun)
{
	unsigned char *from = malloc(COPY), *to = malloc(COPY);
	uint64_t sum = 0;

	if (!from || !to)
		die("memory");
	memset(from, 1, COPY);
	memset(to, 2, COPY);
	*ret_begun = now_ms();
	for (uint64_t done = 0; done < bytes; done += COPY) {
		from[done / COPY % COPY]++;
		memcpy(to, from, COPY);
		sum += to[done / COPY % COPY];
	}
	free(from);
	free(to);
	return sum;
}

int main(int argc, char **argv)
{
	double begun = now_ms();
	uint64_t sum;

	if (argc == 3 && !strcmp(argv[1], "map")) {
		sum = map(argv[2]);
	} else if (argc == 3 && !strcmp(argv[1], "read")) {
		sum = read_pieces(argv[2]);
	} else if (argc == 3 && !strcmp(argv[1], "copy")) {
		sum = copy(strtoull(argv[2], NULL, 10), &begun);
	} else {
		fprintf(stderr, "usage: floor_sum map|read FILE, or "
				"floor_sum copy BYTES\n");
		return 2;
	}
	printf("{\"ms\": %.3f, \"sum\": %" PRIu64 "}\n", now_ms() - begun, sum);
	return 0;
}
