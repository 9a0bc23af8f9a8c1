#include "box/ports.h"

#include <dirent.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "box/tree.h"
#include "core/mem.h"

enum {
	SOCKETS_MAX = 1024,
	LISTENING = 0x0a, /* as /proc/net/tcp writes the state */
	/* Behind most services, before Kubernetes' node ports. */
	PICK_FIRST = 16384,
	PICK_END = 30000,
};

struct look {
	unsigned long long sockets[SOCKETS_MAX]; /* inodes */
	size_t n_sockets;
};

static void add_sockets(struct look *l, pid_t pid)
{
	char path[64], name[400], target[64];
	struct dirent *fd;
	DIR *dir;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
	dir = opendir(path);
	while (dir && (fd = readdir(dir)) && l->n_sockets < SOCKETS_MAX) {
		snprintf(name, sizeof name, "%s/%s", path, fd->d_name);
		n = readlink(name, target, sizeof target - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		if (sscanf(target, "socket:[%llu]",
			   &l->sockets[l->n_sockets]) == 1)
			l->n_sockets++;
	}
	if (dir)
		closedir(dir);
}

static bool is_ours(const struct look *l, unsigned long long inode)
{
	for (size_t i = 0; i < l->n_sockets; i++)
		if (l->sockets[i] == inode)
			return true;
	return false;
}

static bool has(const uint16_t *ports, size_t n, unsigned port)
{
	for (size_t i = 0; i < n; i++)
		if (ports[i] == port)
			return true;
	return false;
}

/* One of pid's network's tables: "sl local remote st ... uid timeout inode". */
static size_t add_ports(const struct look *l, pid_t pid, const char *table,
			uint16_t *ret, size_t n, size_t room)
{
	char path[64], line[512];
	unsigned long long inode;
	unsigned port, state;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/net/%s", (long)pid, table);
	f = fopen(path, "re");
	while (f && n < room && fgets(line, sizeof line, f))
		if (sscanf(line,
			   "%*s %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s "
			   "%llu",
			   &port, &state, &inode) == 3 &&
		    state == LISTENING && is_ours(l, inode) &&
		    !has(ret, n, port))
			ret[n++] = (uint16_t)port;
	if (f)
		fclose(f);
	return n;
}

size_t ports_of(pid_t pid, uint16_t *ret, size_t room)
{
	struct look *l = mem_alloc(sizeof *l);
	pid_t pids[TREE_MAX];
	size_t n = tree_of(pid, pids);

	for (size_t i = 0; i < n; i++)
		add_sockets(l, pids[i]);
	n = add_ports(l, pid, "tcp", ret, 0, room);
	n = add_ports(l, pid, "tcp6", ret, n, room);
	free(l);
	return n;
}

/* The port, or any if it is 0; -1: somebody has it. */
static int bound(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr = {htonl(INADDR_ANY)}};
	socklen_t len = sizeof addr;
	cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -1;
	return ntohs(addr.sin_port);
}

/* Whether the kernel leaves ours alone. */
static bool are_apart(void)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned first = 0;

	if (f) {
		if (fscanf(f, "%u", &first) != 1)
			first = 0;
		fclose(f);
	}
	return first >= PICK_END;
}

int ports_pick(void)
{
	static unsigned next; /* 0: not begun; two daemons begin elsewhere */
	const unsigned n = PICK_END - PICK_FIRST;

	if (!next && getrandom(&next, sizeof next, GRND_NONBLOCK) < 0)
		next = (unsigned)getpid();
	if (are_apart())
		for (unsigned i = 0; i < n; i++) {
			int port = bound((uint16_t)(PICK_FIRST + ++next % n));

			if (port > 0)
				return port;
		}
	return bound(0);
}
