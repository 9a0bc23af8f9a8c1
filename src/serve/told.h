/* told.h: what a replica's frames say, as text for people. A replica runs its
 * user's code: nothing of it is taken as it comes. */
#ifndef SERVE_TOLD_H
#define SERVE_TOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/str.h"

enum { TOLD_LOADING_MAX = 1024, TOLD_SAMPLE_MAX = 4096 };

/* LOADING's payload in one line of UTF-8, cut where it is long; free() it. */
char *told_loading(struct str payload);
/* FAILED's, {"message","remedy"}, in one paragraph; free() it. */
char *told_failed(struct str payload);
/* READY's {"sample"}, which people are shown in a command to paste: a JSON
 * object in one line, or NULL; free() it. */
char *told_sample(struct str payload);

/* STAGES': requests in each, and the means of what they take. */
struct told_stages {
	uint32_t pre;	     /* in pre_predict */
	uint32_t ready;	     /* waiting for a slot */
	uint32_t predict;    /* in a slot */
	uint32_t post;	     /* answered, and in post_predict */
	uint64_t pre_ns;     /* of one request; 0: there is none */
	uint64_t predict_ns; /* of one call of predict; 0: not known */
};
/* False, and nothing is changed, for what is no JSON object. */
bool told_stages(struct str payload, struct told_stages *ret);

#endif
