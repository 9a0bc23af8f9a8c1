/* box_fixture.h: files in the place of a kernel's, and processes to be killed.
 */
#ifndef TESTS_BOX_FIXTURE_H
#define TESTS_BOX_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/cgfile.h"
#include "core/mem.h"

static inline void put(const char *dir, const char *name, const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	FILE *f;

	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		mkdir(path, 0755);
		*p = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static inline void assert_file(const char *dir, const char *name,
			       const char *text)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);
	char got[512];

	assert_int_equal(cgfile_read(path, got, sizeof got), 0);
	assert_string_equal(got, text);
}

static inline bool is_there(const char *dir, const char *name)
{
	cleanup_free char *path = mem_printf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

/* A process that sleeps; with `env` when it is to carry a mark. */
static inline pid_t sleeper(char *const env[])
{
	pid_t pid = fork();

	if (pid == 0) {
		static char name[] = "sleep", arg[] = "60";
		char *argv[] = {name, arg, NULL};

		execve("/bin/sleep", argv, env);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

/* Until its environment is the new program's. */
static inline void wait_for_exec(pid_t pid)
{
	char path[64], text[64];

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	for (int i = 0; i < 2000; i++) {
		if (cgfile_read(path, text, sizeof text) == 0 &&
		    strcmp(text, "sleep\n") == 0)
			return;
		usleep(1000);
	}
	fail_msg("sleep did not start");
}

static inline int killed_by(pid_t pid)
{
	int status = 0;

	for (int i = 0; i < 5000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
		usleep(1000);
	}
	return -1;
}

static inline void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#endif
