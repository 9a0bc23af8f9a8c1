/* floor_fork: what a first answer from zero costs at the least.
 *
 *   floor_fork FILE HEAP_MIB DIRTY_PAGES TIMES
 *
 * Three processes, as in Soma: one that asks, a gateway, and one that is forked
 * for each request, with FILE mapped and a heap of HEAP_MIB. The child writes
 * to DIRTY_PAGES of it, reads the request (a hop), adds up a row of FILE,
 * answers by the gateway (a hop), and ends. Prints microseconds, a line for
 * each.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, ROW = 1024, PAUSE_US = 10000 };

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

union room {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void give(int to, int fd)
{
	char word = 'f';
	struct iovec iov = {&word, 1};
	union room room = {{0}};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = room.bytes,
			     .msg_controllen = sizeof room.bytes};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	if (sendmsg(to, &msg, 0) < 0)
		_exit(1);
}

/* -1: the other end is gone. */
static int take(int from)
{
	char word;
	struct iovec iov = {&word, 1};
	union room room;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = room.bytes,
			     .msg_controllen = sizeof room.bytes};
	int fd;

	if (recvmsg(from, &msg, 0) <= 0)
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
	return fd;
}

static void answer(int fd, const float *weights, size_t rows, char *heap,
		   size_t dirty)
{
	char text[256];
	ssize_t n;
	float sum = 0;
	size_t row;

	for (size_t i = 0; i < dirty; i++)
		heap[i * PAGE] = 2;
	n = read(fd, text, sizeof text - 1);
	text[n > 0 ? n : 0] = 0;
	row = (size_t)atoi(text) % rows;
	for (size_t i = 0; i < ROW; i++)
		sum += weights[row * ROW + i];
	n = snprintf(text, sizeof text, "%g\n", (double)sum);
	_exit(write(fd, text, (size_t)n) == n ? 0 : 1);
}

static void zygote(int channel, const char *file, size_t heap_bytes,
		   size_t dirty)
{
	int f = open(file, O_RDONLY);
	struct stat st;
	float *weights;
	char *heap;

	if (f < 0 || fstat(f, &st) < 0)
		_exit(1);
	weights = mmap(NULL, (size_t)st.st_size, PROT_READ,
		       MAP_PRIVATE | MAP_POPULATE, f, 0);
	heap = mmap(NULL, heap_bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (weights == MAP_FAILED || heap == MAP_FAILED)
		_exit(1);
	memset(heap, 1, heap_bytes);
	for (;;) {
		int fd = take(channel);

		if (fd < 0)
			_exit(0);
		if (fork() == 0)
			answer(fd, weights,
			       (size_t)st.st_size / sizeof(float) / ROW, heap,
			       dirty);
		close(fd);
		wait(NULL);
		if (write(channel, "d", 1) != 1)
			_exit(1);
	}
}

static void gateway(int client, int channel)
{
	char text[256];
	ssize_t n;

	while ((n = read(client, text, sizeof text)) > 0) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
			_exit(1);
		give(channel, pair[1]);
		close(pair[1]);
		if (write(pair[0], text, (size_t)n) != n)
			_exit(1);
		n = read(pair[0], text, sizeof text);
		if (n <= 0 || write(client, text, (size_t)n) != n)
			_exit(1);
		close(pair[0]);
		if (read(channel, text, 1) != 1) /* it has ended */
			_exit(1);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	int asks[2], forks[2];

	if (argc != 5 || socketpair(AF_UNIX, SOCK_STREAM, 0, asks) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, forks) < 0)
		return 2;
	if (fork() == 0) {
		close(asks[0]);
		close(asks[1]);
		close(forks[0]);
		zygote(forks[1], argv[1], (size_t)atoi(argv[2]) << 20,
		       (size_t)atoi(argv[3]));
	}
	close(forks[1]);
	if (fork() == 0) {
		close(asks[0]);
		gateway(asks[1], forks[0]);
	}
	close(asks[1]);
	close(forks[0]);
	for (int i = -3; i < atoi(argv[4]); i++) {
		char text[256];
		double begun = now_us();

		if (write(asks[0], "7\n", 2) != 2 ||
		    read(asks[0], text, sizeof text) <= 0)
			return 1;
		if (i >= 0) /* the first ones find the weights on their way */
			printf("%.1f\n", now_us() - begun);
		usleep(PAUSE_US);
	}
	return 0;
}
