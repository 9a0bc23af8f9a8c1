/* work.h: what the slots of one process do, from what it told of them. */
#ifndef SERVE_WORK_H
#define SERVE_WORK_H

#include "core/tally.h"

/* Seconds that "lately" is, and one more to look back to. */
enum { WORK_SECONDS = 10, WORK_SAMPLES = WORK_SECONDS + 1 };

/* A slot that is busy stays so until the process says otherwise: it says
 * nothing while only time passes. Times are uv_hrtime's. */
struct work {
	struct tally told;
	uint64_t told_ns;   /* when; 0: it has said nothing */
	bool began_earlier; /* before us: what it had done is not counted */
	struct {
		uint64_t at_ns, busy_ns;
	} samples[WORK_SAMPLES]; /* private: oldest first */
	unsigned n_samples;	 /* private */
};

/* The process starts; or it was there before the daemon. */
void work_begin(struct work *w, bool earlier);
/* STAGES came. What it has done since the last goes into sum. */
void work_told(struct work *w, const struct tally *t, uint64_t now_ns,
	       struct tally *sum);
/* What calls of predict that still run have taken so far. */
uint64_t work_running_ns(const struct work *w, uint64_t now_ns);
/* Once a second, while it takes requests. */
void work_sample(struct work *w, uint64_t now_ns);
/* How long its slots were busy lately, and since when that counts; 0, and no
 * time, without a sample. */
uint64_t work_lately_ns(const struct work *w, uint64_t now_ns,
			uint64_t *ret_span_ns);

#endif
