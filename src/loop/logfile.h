/* logfile.h: appends lines to a file that is rotated; the disk is the pool's
 * business. */
#ifndef LOOP_LOGFILE_H
#define LOOP_LOGFILE_H

#include <stdbool.h>
#include <uv.h>

#include "core/buf.h"

enum {
	LOGFILE_FLUSH = 64 << 10, /* so much is written at once ... */
	LOGFILE_FULL = 1 << 20,	  /* ... and more waiting than this is "full" */
	LOGFILE_MAX = 4 << 20,	  /* past it lines are dropped */
};

struct logfile {
	uv_loop_t *loop;
	char *path;	    /* owned; PATH.1 is the one before, and so on */
	size_t file_bytes;  /* a file grows to about this */
	unsigned files;	    /* and so many are kept */
	struct buf pending; /* private: to be written */
	struct buf writing; /* private: being written on the pool */
	uv_work_t work;
	bool busy, closing, full, complained;
	bool remove; /* the owner's: on close the files go too */
	int result;  /* of the last write: 0 or -errno */
	/* Too much waits for the disk, or no longer. May be NULL. */
	void (*on_full)(struct logfile *f, bool full);
	void (*on_closed)(struct logfile *f); /* private */
};

void logfile_init(struct logfile *f, uv_loop_t *loop, char *path_take,
		  size_t file_bytes, unsigned files);
/* Adds bytes that end in a newline. They reach the file at the next flush, or
 * when enough have come together. */
void logfile_add(struct logfile *f, const void *data, size_t len);
/* Now and then. */
void logfile_flush(struct logfile *f);
/* What is pending is written first; then on_closed (perhaps before this
 * returns), and the memory is the owner's. */
void logfile_close(struct logfile *f, void (*on_closed)(struct logfile *f));

#endif
