/* source.h: what a URL names: its files, and how to ask for them. */
#ifndef FETCH_SOURCE_H
#define FETCH_SOURCE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/sha256.h"
#include "core/str.h"
#include "fetch/failure.h"
#include "store/shelf.h"

struct client;

#define SIZE_UNKNOWN UINT64_MAX

/* One file of it. Texts are of the listing's arena. */
struct source_file {
	const char *path; /* in the tree */
	const char *url;  /* https://... */
	uint64_t size;	  /* or SIZE_UNKNOWN */
	const char *etag; /* with its quotes; NULL: none, or it says nothing */
	char sha256[SHA256_HEX]; /* as the source states it, or "" */
	bool ranges;		 /* parts of it can be asked for */
	const char *blob;	 /* its hash in the hub's git; "" or NULL */
	const char *local;	 /* a file of the user's that has it, or NULL */
	char before[SHA256_HEX]; /* what it was with the same mark, or "" */
};

struct listing {
	struct arena arena;
	struct source_file *files; /* owned */
	size_t n, cap;
	/* What the whole of it is known by; NULL: nothing, so that a newer
	 * version is seen by its size alone. */
	const char *etag;
};

void listing_init(struct listing *l);
void listing_fini(struct listing *l);
/* A new row: unknown size, ranges; its path is copied. Refuses what cannot, or
 * must not, be a path in a tree. NULL: *why. */
struct source_file *listing_add(struct listing *l, struct str path,
				struct failure *why);
/* No two of one path, none that is a file and a folder, and any at all. */
int listing_check(const struct listing *l, const char *shown,
		  struct failure *why);
/* What a file's bytes are known by: while it is the same, so are they. NULL:
 * nothing. */
const char *source_file_mark(const struct source_file *f);
/* Fills in `before` by what the shelf has of this name. */
void listing_recall(struct listing *l, const struct shelf *shelf,
		    const char *name);
/* The bytes of all; SIZE_UNKNOWN when one is not known. */
uint64_t listing_bytes(const struct listing *l);

/* Its functions come from its kind (http.c, s3.c, gs.c, hf.c). */
struct source {
	struct client *client; /* borrowed */
	const char *url;       /* as given; borrowed */
	char *shown;	       /* owned: the same to be shown */
	struct arena arena;    /* for what the kind keeps */
	void *own;	       /* of the arena */

	int (*list)(struct source *s, struct listing *l, struct failure *why);
	/* Adds what says who asks to the headers of a request for url. Called
	 * for hosts that `trusts` names alone. NULL: nobody needs to know. */
	struct curl_slist *(*sign)(const struct source *s, const char *method,
				   const char *url, struct curl_slist *headers);
	bool (*trusts)(const struct source *s, const char *url);
	/* What to do about 401 and 403, in words. */
	const char *forbidden;
	/* What to do about 404. */
	const char *missing;
};

/* FAIL_BAD_URL where no kind takes it. Asks nobody. */
int source_open(struct source *s, struct client *client, const char *url,
		struct failure *why);
void source_close(struct source *s);

/* ---- kinds; each fills in what source_open has zeroed ---- */

int source__http(struct source *s, struct failure *why);
int source__s3(struct source *s, struct failure *why);
int source__gs(struct source *s, struct failure *why);
int source__hf(struct source *s, struct failure *why);

#endif
