/* transfer_parts.h: what the files of the transfer share. For transfer*.c. */
#ifndef FETCH_TRANSFER_PARTS_H
#define FETCH_TRANSFER_PARTS_H

#include <pthread.h>

#include "fetch/ranges.h"
#include "fetch/transfer.h"

enum {
	SLOTS = 8,	 /* requests at once */
	WORKERS_MAX = 4, /* threads that hash */
	OPEN_MAX = 256,	 /* files that are under way at once */
	PIECE_MIN = 8 << 20,
	PIECE_MAX = 32 << 20,
	PIECES = 64,		 /* of a file, within these bounds */
	ROOM_BYTES = 64 << 20,	 /* left free on the file system */
	COUNTS_BYTES = 64 << 10, /* progress that makes tries count anew */
	WAKE_BYTES = 1 << 20,	 /* what is worth waking a worker for */
	/* Written at once: libcurl hands over 16 KiB, and a third of the time
	 * that writes of that size take is the calls'. */
	GATHER_BYTES = 256 << 10,
};

/*
 *  WAITING ──▶ OPEN ──▶ (a worker has hashed it) ──▶ DONE
 *     ▲                        │ the sum is wrong: once more
 *     ╰────────────────────────╯
 */
enum item_state { ITEM_WAITING, ITEM_OPEN, ITEM_DONE };

/* What a worker found; the loop's thread acts on it. */
enum item_news {
	NEWS_NONE,
	NEWS_TAKEN,
	NEWS_CORRUPT,
	NEWS_NO_COPY,
	NEWS_FAILED
};

struct item {
	const struct source_file *f;
	size_t n;
	enum item_state state;
	int fd; /* owned: its part */

	/* Of the loop's thread alone. */
	uint64_t cursor;  /* all before it is there or asked for */
	bool whole;	  /* it comes in one piece or not at all */
	bool streaming;	  /* ... and a slot is at it */
	char *at;	  /* owned: where redirects led; or NULL */
	bool spurned;	  /* the user's own file is of no use */
	unsigned corrupt; /* how often its sum was wrong */
	uint64_t noted;	  /* bytes that its note tells of */

	/* Under the transfer's lock. */
	uint64_t size; /* as the source said, else once it is there */
	struct ranges have;
	unsigned generation; /* more when `have` began anew */
	const char *local;   /* a worker copies it from there */
	bool complete;	     /* all of it is there; the note is the worker's */
	bool busy;	     /* a worker is at it */
	uint64_t hashed, woken;
	enum item_news news;
	struct failure *why; /* owned: of NEWS_FAILED */
	char sha256[SHA256_HEX];
};

enum slot_state { SLOT_FREE, SLOT_ASKING, SLOT_RESTING };

/* What an answer's head means. */
enum verdict {
	VERDICT_NONE, /* there was none yet */
	VERDICT_TAKE, /* its body is what was asked for */
	VERDICT_REDIRECT,
	VERDICT_WHOLE,	 /* it has no ranges: all of it or nothing */
	VERDICT_EXPIRED, /* where a redirect led is no more */
	VERDICT_PASSING, /* not now */
	VERDICT_CHANGED, /* it is not what was listed */
	VERDICT_REFUSED,
	VERDICT_NONSENSE,
};

/* One request at a time, and a range that is its own until it is there. */
struct slot {
	struct transfer *t;
	CURL *easy; /* owned */
	enum slot_state state;
	struct item *item;
	uint64_t at, end; /* end SIZE_UNKNOWN: until the answer ends */
	char *piece;	  /* owned: GATHER_BYTES, what came and goes to `at` */
	size_t held;	  /* of it */
	struct heads heads;
	struct curl_slist *headers; /* owned */
	unsigned redirects, tries;
	uint64_t tried_at;	     /* `at` when tries began */
	int64_t due_ms;		     /* of the next try */
	bool asked_range, elsewhere; /* elsewhere: where a redirect led */
	enum verdict verdict;
	uint64_t thrown; /* bytes of a body that nobody wants */
	int sys;	 /* errno of a write that failed */
	char detail[CURL_ERROR_SIZE];
};

struct transfer {
	const struct transfer_job *job;
	struct failure *why;
	bool failed; /* *why is set */
	CURLM *multi;
	struct slot slots[SLOTS];
	struct item *items; /* owned */
	size_t n;
	size_t next;	/* the first with something left to ask for */
	size_t reached; /* behind the last that was ever open */
	size_t oldest;	/* all before it are done */
	size_t open;	/* in ITEM_OPEN */
	uint64_t done;	/* bytes of items that are done */
	uint64_t total; /* or SIZE_UNKNOWN */

	pthread_mutex_t lock;
	pthread_cond_t more; /* bytes have come, or stop */
	pthread_t workers[WORKERS_MAX];
	size_t n_workers;
	bool stop, news; /* under the lock */
};

/* ---- transfer.c ---- */

/* The first failure counts. Returns -1. */
int transfer__fail(struct transfer *t);
uint64_t transfer__free_bytes(const struct transfer *t);

/* ---- transfer_item.c ---- */

/* What an earlier pull left of it. */
void transfer__recall(struct transfer *t, struct item *it);
/* The next range that nobody has asked for, into the slot. False: none now. */
bool transfer__next(struct transfer *t, struct slot *slot);
/* Forgets what is there of it. */
void transfer__begin_anew(struct transfer *t, struct item *it);
/* Tells the workers when all of it is there. */
void transfer__check_complete(struct transfer *t, struct item *it);
/* Does what follows from what they found. */
void transfer__hear_workers(struct transfer *t);

/* ---- transfer_slot.c ---- */

void slot__start(struct slot *slot);
/* Writes what it holds; slot->sys tells how that went. */
void slot__flush(struct slot *slot);
/* The same of whole pages alone, while more is to come. */
void slot__flush_pages(struct slot *slot);
/* Its request has ended. */
void slot__end(struct slot *slot, CURLcode rc);

/* ---- transfer_hash.c ---- */

/* The thread of a worker; data is the transfer. */
void *transfer__work(void *data);

#endif
