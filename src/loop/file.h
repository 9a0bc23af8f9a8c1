/* file.h: whole small files and directories. All block: for start-up, the pool,
 * and the CLI. */
#ifndef LOOP_FILE_H
#define LOOP_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "core/err.h"

/* The whole file, NUL-terminated, free() it; E_TOOBIG past max. */
int file_read(const char *path, size_t max, char **ret, size_t *ret_len,
	      struct err *err);
/* Written beside, synced, renamed over. */
int file_write(const char *path, const void *data, size_t len, mode_t mode,
	       struct err *err);
/* The directory and those above it that are missing. */
int file_mkdirs(const char *path, mode_t mode, struct err *err);
/* The file or whole tree; absent is fine. Never follows a symbolic link. */
int file_remove_tree(const char *path, struct err *err);
/* Copies a regular file's bytes. */
int file_copy(const char *from, const char *to, mode_t mode, struct err *err);

#endif
