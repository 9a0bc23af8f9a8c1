/* take_over.c: a daemon that is started beside one that serves. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/daemon_parts.h"
#include "store/store.h"

int take_over_check(const char *data_dir)
{
	struct err err = {0};

	if (store_check(data_dir, &err)) {
		printf("%s\n", err.msg);
		return 1;
	}
	puts("soma-daemon " SOMA_VERSION);
	return fflush(stdout) ? 1 : 0;
}

static int receive(int fd, struct keep_head *ret)
{
	ssize_t n;

	do
		n = recv(fd, ret, sizeof *ret, 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof *ret ? 0 : -1;
}

int take_over_wait(int keeper_fd)
{
	struct keep_head head = {.type = KEEP_READY};

	if (send(keeper_fd, &head, sizeof head, MSG_NOSIGNAL) < 0)
		return -1;
	/* No loop runs yet: there is nothing else to wait for. */
	return receive(keeper_fd, &head) || head.type != KEEP_GO;
}
