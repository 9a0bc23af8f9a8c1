/* disk.h: the directories of blobs and projects, and the few file operations
 * that making them durable takes. For the store folder. */
#ifndef STORE_DISK_H
#define STORE_DISK_H

#include <stddef.h>
#include <sys/types.h>

#include "core/err.h"

/*
 *   DIR/blobs/ab/cdef...     0600, in 0700: what was uploaded
 *   DIR/projects/HASH/       0755: trees of copies, readable by replicas
 *   DIR/projects/.HASH.list  0600: the blobs a project was made of
 *   .tmp-* in either         half done; gone at the next start
 */
#define DISK_TEMP ".tmp-"

/* Makes both directories and removes what an earlier run left half done. */
int disk__layout(const char *dir, struct err *err);

char *disk__blob_path(const char *dir, const char *hash);    /* mem_printf */
char *disk__project_path(const char *dir, const char *hash); /* mem_printf */
char *disk__list_path(const char *dir, const char *hash);    /* mem_printf */

/* Made unless there; the mode is as given, whatever the umask. */
int disk__mkdir(const char *path, mode_t mode, struct err *err);
/* 0, or -errno. */
int disk__write(int fd, const void *data, size_t len);
int disk__sync_dir(const char *path);
/* Whole content of one descriptor into another, shared or in-kernel where the
 * file system can. 0, or -errno. */
int disk__copy(int from, int to);

/* err from errno `sys`, while `doing` something under dir; a full disk gets its
 * remedy. */
int disk__fail(struct err *err, int sys, const char *dir, const char *doing);

#endif
