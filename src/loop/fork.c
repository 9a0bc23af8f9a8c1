#include "loop/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/touched.h"

enum { SEND_PATIENCE_MS = 5000 };

static pid_t keeper; /* 0: this is neither a zygote nor a zygote's child */
static bool is_child;
/* Where its value stood when this program began, which is where the kernel
 * shows it to others (/proc/PID/environ), and the room that it has. */
static char *mark_at;
static size_t mark_room;
/* Shared with the one between, which is a process but in its memory. */
static volatile pid_t between, born;
static volatile int refused;

void fork_init(void)
{
	keeper = getppid();
	mark_at = getenv(FORK_MARK);
	mark_room = mark_at ? strlen(mark_at) : 0;
	touched_init();
}

bool fork_is_complete(const struct fork_order *o)
{
	for (int i = 0; i < FORK_FDS; i++)
		if (o->fds[i] < 0)
			return false;
	return true;
}

void fork_close(const struct fork_order *o)
{
	for (int i = 0; i < FORK_FDS; i++)
		if (o->fds[i] >= 0)
			close(o->fds[i]);
}

/* Where user code has closed standard input or output the kernel gives their
 * numbers away, and fork_settle would overwrite what it was given. */
static int above_stdio(int fd)
{
	int high;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close(fd);
	return high;
}

bool fork_receive(int control, struct fork_order *ret)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * FORK_FDS)];
		struct cmsghdr align;
	} space;
	struct iovec iov[2] = {{&ret->head, sizeof ret->head},
			       {ret->mark, sizeof ret->mark - 1}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	*ret = (struct fork_order){.fds = {-1, -1, -1}};
	do {
		msg.msg_control = space.room;
		/* Not a descriptor more, which alignment has room for. */
		msg.msg_controllen = CMSG_LEN(sizeof(int) * FORK_FDS);
		n = recvmsg(control, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c;
	     c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(ret->fds, CMSG_DATA(c),
			       c->cmsg_len - CMSG_LEN(0));
	for (int i = 0; i < FORK_FDS; i++)
		ret->fds[i] = above_stdio(ret->fds[i]);
	return true;
}

void fork_send(int control, enum frame_type type, uint32_t arg,
	       const char *text, size_t len)
{
	struct frame head = {
		.type = (uint8_t)type, .version = FRAME_VERSION, .arg = arg};
	struct iovec iov[2] = {{&head, sizeof head},
			       {(char *)(uintptr_t)text, len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	struct pollfd on = {.fd = control, .events = POLLOUT};

	while (sendmsg(control, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		if (errno != EINTR &&
		    (errno != EAGAIN || poll(&on, 1, SEND_PATIENCE_MS) == 0))
			return;
}

/* The one between only forks and goes, so it borrows our memory instead of
 * copying it (vfork): the child's is the one copy, and the child alone returns
 * from in there. It leaves our process group first: who kills that, as the
 * keeper does when we are dead, means no child that has just been made. */
pid_t fork_twice(void)
{
	born = -1;
	/* If the one between is killed before it forks. */
	refused = ECHILD;
	between = vfork();
	if (between == 0) {
		between = getpid();
		setsid();
		born = fork();
		if (born == 0) {
			is_child = true;
			return 0;
		}
		refused = errno;
		_exit(0);
	}
	if (between < 0)
		return -errno;
	/* When it is gone the keeper is the parent. */
	while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
		;
	return born > 0 ? born : -refused;
}

void fork_tell(int control, uint32_t number, pid_t pid)
{
	char text[160];
	int n = pid > 0 ? snprintf(text, sizeof text, "{\"pid\":%d}", (int)pid)
			: snprintf(text, sizeof text, "{\"error\":\"%s\"}",
				   strerror(-pid));

	fork_send(control, FRAME_FORKED, number, text, (size_t)n);
}

/* In place: what is forked from here without an exec shows the same memory. One
 * that is longer than a zygote's would not fit, and none is. */
static void set_mark(const char *mark)
{
	size_t n = strlen(mark);

	if (!n || n > mark_room)
		return;
	memset(mark_at, 0, mark_room);
	memcpy(mark_at, mark, n);
}

/* Whose memory is limited gets it when what it takes is its own. */
static bool has_config(int control)
{
	return recv(control, NULL, 0, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

void fork_settle(const struct fork_order *o)
{
	if (has_config(o->fds[FORK_CONTROL]))
		touched_ahead();
	setsid();
	dup2(o->fds[FORK_LOG], STDOUT_FILENO);
	dup2(o->fds[FORK_LOG], STDERR_FILENO);
	close(o->fds[FORK_LOG]);
	set_mark(o->mark);
}

bool fork_made_us(void)
{
	return is_child;
}

/* As the box does for what it starts, whose parent is the keeper at once. */
int fork_follow_keeper(void)
{
	if (!is_child)
		return 0;
	/* The one between is on its last steps; its death is not the one. */
	while (getppid() == between)
		sched_yield();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return -1;
	if (getppid() != keeper)
		_exit(0);
	return 0;
}
