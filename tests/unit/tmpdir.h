/* tmpdir.h: a directory for one test, and one on a file system that is soon
 * full. */
#ifndef TESTS_TMPDIR_H
#define TESTS_TMPDIR_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "core/mem.h"
#include "loop/file.h"

/* free() it, by tmpdir_remove. */
static inline char *tmpdir_make(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = mem_printf("%s/soma-test-XXXXXX", base ? base : "/tmp");

	if (!mkdtemp(dir))
		abort();
	return dir;
}

static inline void tmpdir_remove(char *dir)
{
	file_remove_tree(dir, NULL);
	free(dir);
}

/* Mounts of this program alone: at its start, before any thread, which would
 * stay outside. False where the machine does not let us. */
static inline bool tmpdir_own_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* Puts a tmpfs of so many bytes on dir; tmpdir_own_mounts gave `own`. False,
 * with the reason printed, where that cannot be. */
static inline bool tmpdir_mount_small(bool own, const char *dir,
				      const char *size)
{
	char option[64];

	snprintf(option, sizeof option, "mode=0755,size=%s", size);
	if (own && mount("soma-test", dir, "tmpfs", 0, option) == 0)
		return true;
	puts("skipped: a small tmpfs takes root and a mount namespace");
	return false;
}

#endif
