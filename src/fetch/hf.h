/* hf.h: what the files of the hub's source share. */
#ifndef FETCH_HF_H
#define FETCH_HF_H

#include "fetch/source.h"

/* All texts are of the source's arena, or of the environment. */
struct hf {
	const char *endpoint; /* without a slash at its end */
	const char *token;    /* or NULL */
	const char *name;     /* "ORG/NAME" */
	const char *revision;
};

/* Of all that a repository has, what a model needs: leaves out of l what is the
 * same weights in another format. */
void hf__choose(struct listing *l);
/* Names for each file the one of the user's own cache that is the same. */
void hf__look_in_cache(const struct hf *own, struct listing *l);

#endif
