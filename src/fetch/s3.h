/* s3.h: what S3's source and those that speak the same share. */
#ifndef FETCH_S3_H
#define FETCH_S3_H

#include "fetch/client.h"
#include "fetch/s3_sign.h"
#include "fetch/source.h"

/* All texts are of the source's arena, or of the environment. */
struct s3 {
	const char *bucket, *key; /* key "": all of the bucket */
	const char *endpoint; /* "https://host", without a slash; NULL: Amazon's
			       */
	const char *region;
	struct s3_keys keys; /* id NULL: none */
	const char *bearer;  /* instead of keys; or NULL */
	bool asks_sums;	     /* it knows x-amz-checksum-mode, and lists sums */
};

/* Keys and region, by the environment, then by the profile; what is nowhere
 * stays NULL. */
void s3__credentials(struct arena *arena, struct s3_keys *keys,
		     const char **region);
/* Takes s->url apart, as SCHEME://BUCKET/KEY, into `own`, and makes s a source
 * of it. */
int s3__begin(struct source *s, struct s3 *own, struct failure *why);
/* The address of a key; query "" or as it goes behind '?'. Of the arena. */
const char *s3__url(const struct s3 *own, struct arena *arena, const char *key,
		    const char *query);
/* One request, again with the right region where S3 tells another. */
int s3__ask(struct source *s, const char *method, const char *key,
	    const char *query, struct answer *ret, struct failure *why);
/* A status that is no success, with S3's own word for it. Returns -1. */
int s3__refused(struct source *s, struct answer *an, struct failure *why);

/* Every object whose key begins with `prefix` into l, by its path behind it. */
int s3__list_prefix(struct source *s, struct listing *l, const char *prefix,
		    struct failure *why);

#endif
