/* Which ports a process listens on, told from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/ports.h"
#include "core/mem.h"

static int listener(int family, uint16_t *ret_port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} addr = {.in = {.sin_family = (sa_family_t)family}};
	socklen_t len = sizeof addr;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (family == AF_INET)
		addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		addr.in6.sin6_addr = in6addr_loopback;
	if (fd < 0 ||
	    bind(fd, &addr.any,
		 family == AF_INET ? sizeof addr.in : sizeof addr.in6) < 0 ||
	    listen(fd, 1) < 0 || getsockname(fd, &addr.any, &len) < 0)
		return -1;
	*ret_port = ntohs(family == AF_INET ? addr.in.sin_port
					    : addr.in6.sin6_port);
	return fd;
}

/* Forks; the child's child listens, says where, and waits for its end. */
static pid_t start(uint16_t *ret_port)
{
	int told[2];
	pid_t pid;

	assert_int_equal(pipe(told), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		uint16_t port = 0;

		if (fork()) {
			pause();
			_exit(0);
		}
		if (listener(AF_INET, &port) < 0 ||
		    write(told[1], &port, sizeof port) < 0)
			_exit(1);
		close(told[0]);
		close(told[1]);
		for (;;)
			pause();
	}
	close(told[1]);
	assert_int_equal(read(told[0], ret_port, sizeof *ret_port),
			 sizeof *ret_port);
	close(told[0]);
	return pid;
}

static void a_process_and_those_below_it(void **state)
{
	uint16_t ports[4], want;
	pid_t pid;

	(void)state;
	/* A kernel without CONFIG_PROC_CHILDREN lists none. */
	if (access("/proc/thread-self/children", F_OK) != 0)
		skip();
	setpgid(0, 0);
	pid = start(&want);
	assert_int_equal(ports_of(pid, ports, ARRAY_LEN(ports)), 1);
	assert_int_equal(ports[0], want);
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	waitpid(pid, NULL, 0);
	assert_int_equal(ports_of(pid, ports, ARRAY_LEN(ports)), 0);
}

static void each_port_once_and_only_so_many(void **state)
{
	uint16_t ports[4], first, second;
	int a, b;

	(void)state;
	assert_int_equal(ports_of(getpid(), ports, ARRAY_LEN(ports)), 0);
	a = listener(AF_INET, &first);
	assert_true(a >= 0);
	assert_int_equal(ports_of(getpid(), ports, ARRAY_LEN(ports)), 1);
	assert_int_equal(ports[0], first);
	assert_int_equal(ports_of(getpid(), ports, 0), 0);
	b = listener(AF_INET6, &second);
	if (b >= 0) {
		assert_int_equal(ports_of(getpid(), ports, ARRAY_LEN(ports)),
				 2);
		assert_int_equal(ports[1], second);
		assert_int_equal(ports_of(getpid(), ports, 1), 1);
		close(b);
	}
	close(a);
}

static int take(int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)port),
				   .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void a_port_that_nobody_has(void **state)
{
	int first = ports_pick(), second = ports_pick(), taken, fd;

	(void)state;
	assert_in_range(first, 1024, 65535);
	assert_int_not_equal(first, second);
	fd = take(first);
	assert_true(fd >= 0);
	close(fd);

	/* The next in turn is skipped while somebody has it. */
	taken = second + 1;
	fd = take(taken);
	if (fd >= 0) {
		assert_int_not_equal(ports_pick(), taken);
		close(fd);
	}
}

static void not_one_that_the_kernel_gives(void **state)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	int first = 0, last = 0;

	(void)state;
	if (!f || fscanf(f, "%d %d", &first, &last) != 2 || first < 30000)
		skip();
	fclose(f);
	for (int i = 0; i < 100; i++)
		assert_in_range(ports_pick(), 1024, first - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_port_once_and_only_so_many),
		cmocka_unit_test(a_process_and_those_below_it),
		cmocka_unit_test(a_port_that_nobody_has),
		cmocka_unit_test(not_one_that_the_kernel_gives),
	};

	return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}
