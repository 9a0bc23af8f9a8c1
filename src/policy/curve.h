/* curve.h: how long batches take by their size, learned as they run, and the
 * size that keeps a target of latency.
 *
 * Known of a size. Sizes fall into classes that begin at 1, 2, 3, 4, 6, 8, 12,
 * 16, ... Each keeps running means of its batches' sizes and times, so that its
 * point lies on the curve wherever in the class they fall, and of how far the
 * times are from that mean (as Jacobson's "Congestion avoidance and control",
 * 1988, does for round trips):
 *
 *     p99(n) = mean(n) + 3 * deviation(n)
 *
 * Three mean deviations are about 2.4 standard ones of a normal distribution.
 * Between points the curve is a straight line; a larger batch is never supposed
 * to be faster: where one seems to be, both are pooled, weighted by how much
 * and how lately they were seen (isotonic regression, by pooling adjacent
 * violators).
 *
 * What is not typical. The first batch of each exact size is not learned: a GPU
 * loads kernels, tunes and allocates for a shape when it comes the first time,
 * which takes tens of times as long as the batch. While little is known of a
 * class, a time of less than half its mean begins it anew: those before were
 * such, too. One that takes long later moves the mean as if it had taken twice
 * as long as usual, at most.
 *
 * The size. A request that finds the slot busy waits for a batch and then runs
 * in the next, so that a size keeps the target when
 *
 *     2 * p99(n) <= target
 *
 * as in Nexus (Shen et al., SOSP 2019). Of the sizes that do, with a twentieth
 * to spare, the smallest is taken whose requests per second, n / mean(n), are
 * within 2% of the best. It is left again where it breaks the target, where
 * another promises 2% more, or where half of it would do as well: in between
 * nothing moves.
 *
 * Under overload. Where so many are there that who comes now would wait beyond
 * the target, about
 *
 *     (1 + there / n) * mean(n)
 *
 * for the batch that runs and those before its own, a smaller size than need be
 * keeps nobody's target. Over many batches what varies evens out, and mean(n)
 * stands for p99(n) above. And where that leaves no size that does well, the
 * one of the shortest such wait is taken, if it is less than two thirds as long
 * as otherwise.
 *
 * What is not known. The next size to try is one class beyond the largest that
 * has been seen, or twice that while so many are there, after a few batches of
 * it, and only if the line through the last two points keeps the target. A
 * class that this has passed over is tried when the size stays below it. With
 * one point, two requests are supposed to take half as much again as one. What
 * was seen long ago counts little, and of sizes above the one in use nothing at
 * all after 8 full batches, then 16, up to 512: what only seemed slow is soon
 * tried again, what is slow rarely, and a model that has become faster in the
 * end. */
#ifndef POLICY_CURVE_H
#define POLICY_CURVE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

enum { CURVE_CLASSES = 20, CURVE_MOST = 1024 };

/* Of a class. Times in ns. */
struct curve_point {
	double size, mean, deviation;
	double weight;
};

/* Sizes that are learned as one. */
struct curve_class {
	double size, mean, deviation;
	uint32_t seen; /* 0: never, or forgotten */
	uint32_t at;
	uint32_t left; /* so many times forgotten since it was proven */
};

struct curve {
	/* Set before; the rest is 0. */
	uint64_t target;
	uint32_t most; /* 1 to CURVE_MOST */

	/* private */
	uint32_t size;
	uint32_t full; /* batches of that size so far: the clock of `at` */
	double there;  /* a running mean */
	uint64_t ran[CURVE_MOST / 64 + 1]; /* a bit for each size */
	struct curve_class classes[CURVE_CLASSES];
	struct curve_point points[CURVE_CLASSES]; /* by size */
	uint32_t n_points;
};

/* So many are there when a batch ends: those in it, and the slot's share of
 * those that wait. What is beyond some batches need not be counted. */
void curve_there(struct curve *c, uint32_t n);
/* A batch of `size` took so long. */
void curve_learn(struct curve *c, uint32_t size, uint64_t took);
/* The most that a slot is to take. */
uint32_t curve_size(const struct curve *c);
/* What a batch of n takes, about, and rarely more than; 0: nothing is known. */
double curve_mean(const struct curve *c, double n);
double curve_p99(const struct curve *c, double n);
/* How long n requests may be held back for one more: what that saves a slot,
 * mean(1) + mean(n) - mean(n + 1), if the target leaves so much. */
uint64_t curve_wait(const struct curve *c, uint32_t n);
/* How long after a batch of n its callers are waited for who ask again: a
 * quarter of that. A batch takes longer than what a wait can save, so that of
 * callers who come at any time fewer than half come within. */
uint64_t curve_window(const struct curve *c, uint32_t n);

/* What was last told of a curve, and when; 0 at first. */
struct curve_told {
	uint64_t at;
	uint32_t size, n_points;
	double mean[CURVE_CLASSES];
};

/* Whether there is something worth telling: the size is another, or, at most
 * once a second, a point has come or moved by a tenth. Notes it as told. */
bool curve_has_news(const struct curve *c, struct curve_told *told,
		    uint64_t now);
/* It as JSON: {"size":8,"points":[[1,10200000,12100000],...]}, each size, mean
 * and p99. */
void curve_write(const struct curve *c, struct buf *out);

#endif
