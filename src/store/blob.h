/* blob.h: content-addressed files and the project trees made of them. Disk work
 * runs on libuv's pool. */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/err.h"

/* DIR/blobs/ab/cdef... (0600 files) and DIR/projects/HASH/... (readable by
 * all). */
struct blobs {
	uv_loop_t *loop;
	char *dir; /* owned */
};

int blobs_init(struct blobs *b, uv_loop_t *loop, const char *dir,
	       struct err *err);
void blobs_fini(struct blobs *b);

/* 64 lower-case hex digits? Nothing else ever becomes a path. */
bool blob_hash_ok(const char *hash);
bool blob_has(const struct blobs *b, const char *hash);

/* One upload, streamed: begin, append as pieces come (one at a time: the next
 * only after `done`), then commit or abort. Written to a temporary file, hashed
 * on the way, fsynced and renamed at commit. */
struct blob_write;
int blob_write_begin(struct blob_write **ret, struct blobs *b, const char *hash,
		     struct err *err);
/* data is copied. done comes on the loop. */
void blob_write_append(struct blob_write *w, const void *data, size_t len,
		       void (*done)(void *data, const struct err *err),
		       void *data_ptr);
/* E_UNPROCESSABLE if the bytes do not have the hash. Frees w (after done). */
void blob_write_commit(struct blob_write *w,
		       void (*done)(void *data, const struct err *err),
		       void *data_ptr);
/* Frees w, removes the temporary file; safe while an append is under way (its
 * done is not called then). */
void blob_write_abort(struct blob_write *w);

/* One file of a project. */
struct project_file {
	const char *path; /* relative, '/'-separated, no "..", no leading '/' */
	const char *hash;
	uint32_t mode; /* permission bits; 0755 if any x, else 0644, are what is
			  kept */
};

/* A path that may be a project file's: relative, no empty, "." or ".." part, no
 * NUL, at most 1024 bytes. */
bool project_path_ok(const char *path);
/* Hash of (path, mode class, hash) of all files, sorted by path. */
void project_hash(const struct project_file *files, size_t n, char out[65]);
/* Makes DIR/projects/HASH from blobs unless it is there, whole or not at all
 * (made beside, fsynced, renamed). files are copied. done comes on the loop
 * with the absolute directory, borrowed for the call. */
void project_make(struct blobs *b, const struct project_file *files, size_t n,
		  void (*done)(void *data, const char *dir,
			       const struct err *err),
		  void *data);
/* Absolute directory of a project that exists, mem_printf'ed; or NULL. */
char *project_dir(const struct blobs *b, const char *hash);
/* What it has at a path: 0 nothing, 1 a file, 2 a directory. */
int project_kind(const struct blobs *b, const char *hash, const char *path);
/* Removes projects not in `keep` and blobs unused by any kept project, both
 * only when older than an hour: younger ones may belong to a deploy under way.
 * On the pool; done may be NULL. */
void blobs_gc(struct blobs *b, const char *const *keep, size_t n_keep,
	      void (*done)(void *data), void *data);

#endif
