/* parts.h: what a pull has so far, in a folder that outlives it. */
#ifndef FETCH_PARTS_H
#define FETCH_PARTS_H

#include <stdbool.h>

#include "fetch/failure.h"
#include "fetch/ranges.h"
#include "fetch/source.h"
#include "store/shelf.h"

/*
 *   lock      flock: held by the pull
 *   N.part    bytes of file number N of the listing
 *   N.json    {"path","url","size","etag","sha256","boot",
 *             "have":[[from,to],...],"done"}: of which file, which bytes are
 *             there; "done" is its SHA-256 once it goes onto the shelf
 * A note is replaced by a rename and is never ahead of the bytes. After a crash
 * of the machine it may be, for bytes are not synced before the end: then
 * "boot" is another, and what no sum of the source's vouches for is dropped.
 */
struct parts {
	struct shelf *shelf; /* borrowed */
	char *dir;	     /* owned */
	int lock;	     /* owned */
	char boot[64];
};

/* Waits for the pull of the same name that is under way, if there is one. */
int parts_open(struct parts *p, struct shelf *shelf, const char *name,
	       struct failure *why);
/* What is there stays. */
void parts_close(struct parts *p);
/* Nothing of it is needed any more; the lock is kept until parts_close. */
void parts_clear(struct parts *p);

char *parts_path(const struct parts *p, size_t n); /* mem_printf */

struct part_note {
	struct ranges have;
	char done[SHA256_HEX]; /* or "" */
};
/* What is there of file f. A part that is of another file, or whose bytes
 * cannot be vouched for, is removed, and the note is empty. */
void parts_read(struct parts *p, size_t n, const struct source_file *f,
		struct part_note *ret);
int parts_write(struct parts *p, size_t n, const struct source_file *f,
		const struct ranges *have, const char *done,
		struct failure *why);
/* Part and note of file number n. */
void parts_drop(struct parts *p, size_t n);

#endif
