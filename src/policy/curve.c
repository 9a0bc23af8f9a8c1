#include "policy/curve.h"

#include <assert.h>
#include <math.h>

#include "core/mem.h"

enum {
	GAIN = 8,	     /* of the mean: 1 / GAIN of what is new */
	DEVIATION_GAIN = 16, /* of the deviation */
	ENOUGH = 4,	     /* full batches of a size before a larger one */
	FADES = 256,	     /* full batches until a point counts half */
	FORGOTTEN = 512,     /* until larger sizes are */
	TELL_NS = 1000000000,
};

static uint32_t class_of(uint32_t n)
{
	uint32_t log = 31 - (uint32_t)__builtin_clz(n);

	return n == 1 ? 0 : 2 * log + (n >> (log - 1) & 1) - 1;
}

/* The least size of a class. */
static uint32_t class_begin(uint32_t i)
{
	if (!i)
		return 1;
	return (i & 1 ? 2u : 3u) << (i - 1) / 2;
}

/* --- the curve -------------------------------------------------------------
 */

/* The points [first, last] get their common mean. */
static void pool(struct curve_point *first, const struct curve_point *last)
{
	double weight = 0, mean = 0, deviation = 0;

	for (const struct curve_point *p = first; p <= last; p++) {
		weight += p->weight;
		mean += p->mean * p->weight;
		deviation += p->deviation * p->weight;
	}
	for (struct curve_point *p = first; p <= last; p++) {
		p->mean = mean / weight;
		p->deviation = deviation / weight;
	}
}

/* Makes the points of what the classes know. */
static void fit(struct curve *c)
{
	struct curve_point *p = c->points;
	uint32_t n = 0, k;

	for (uint32_t i = 0; i < CURVE_CLASSES; i++) {
		if (!c->classes[i].seen)
			continue;
		p[n] = (struct curve_point){
			.size = c->classes[i].size,
			.mean = c->classes[i].mean,
			.deviation = c->classes[i].deviation,
			.weight = MIN(c->classes[i].seen, (uint32_t)GAIN) *
				  exp2(-(double)(c->full - c->classes[i].at) /
				       FADES),
		};
		for (k = n; k > 0 && p[k - 1].mean > p[n].mean;) {
			do /* to the first of those that it is pooled with */
				k--;
			while (k > 0 && p[k - 1].mean == p[k].mean);
			pool(&p[k], &p[n]);
		}
		n++;
	}
	c->n_points = n;
}

/* On the line through two points; beyond the only one half of what it would be
 * in proportion comes on top. */
static struct curve_point at(const struct curve *c, double n)
{
	const struct curve_point *p = c->points, *last;
	struct curve_point out;
	double share;
	uint32_t i = 1;

	if (!c->n_points)
		return (struct curve_point){0};
	last = &p[c->n_points - 1];
	if (n <= p[0].size)
		return p[0];
	if (c->n_points == 1) {
		share = (1 + n / last->size) / 2;
		return (struct curve_point){.mean = last->mean * share,
					    .deviation =
						    last->deviation * share};
	}
	while (i + 1 < c->n_points && p[i].size < n)
		i++;
	share = (n - p[i - 1].size) / (p[i].size - p[i - 1].size);
	out.mean = p[i - 1].mean + share * (p[i].mean - p[i - 1].mean);
	/* What nobody has seen varies like the last that was. */
	if (n > last->size)
		out.deviation = last->deviation * out.mean / last->mean;
	else
		out.deviation = p[i - 1].deviation +
				share * (p[i].deviation - p[i - 1].deviation);
	return out;
}

double curve_mean(const struct curve *c, double n)
{
	return at(c, n).mean;
}

double curve_p99(const struct curve *c, double n)
{
	struct curve_point p = at(c, n);

	return p.mean + 3 * p.deviation;
}

/* --- the size --------------------------------------------------------------
 */

/* Beyond a single point nothing is known. */
static bool blind(const struct curve *c, double n)
{
	return c->n_points == 1 && n > c->points[0].size;
}

/* What is tried for the first time comes behind a batch that is known. */
static bool keeps(const struct curve *c, double n, double target)
{
	double before = blind(c, n) ? c->points[0].size : n;

	return curve_p99(c, before) + curve_p99(c, n) <= target;
}

/* Where nothing is known more may be for nothing. */
static double per_ns(const struct curve *c, double n)
{
	return n / (blind(c, n) ? c->points[0].mean : curve_mean(c, n));
}

/* The largest that may be taken for what is known of smaller ones. */
static uint32_t reach(const struct curve *c)
{
	uint32_t last = CURVE_CLASSES - 1;

	while (last && !c->classes[last].seen)
		last--;
	if (c->classes[last].seen >= ENOUGH && last + 1 < CURVE_CLASSES)
		return MIN(class_begin(last + 1), c->most);
	return MIN((uint32_t)c->classes[last].size, c->most);
}

/* The largest size up to `most` that keeps the target, as do all below. */
static uint32_t limit(const struct curve *c, uint32_t most, double target)
{
	uint32_t good = 1, bad;

	for (uint32_t i = 1; i < CURVE_CLASSES; i++) {
		bad = class_begin(i);
		if (bad > most || !keeps(c, bad, target))
			break;
		good = bad;
	}
	bad = MIN(bad, most + 1);
	while (bad - good > 1) {
		uint32_t middle = good + (bad - good) / 2;

		if (keeps(c, middle, target))
			good = middle;
		else
			bad = middle;
	}
	return good;
}

/* The smallest up to `most` with about the most requests per second. */
static uint32_t best_of(const struct curve *c, uint32_t most)
{
	double best = per_ns(c, most);

	for (uint32_t i = 0; class_begin(i) < most; i++)
		best = MAX(best, per_ns(c, class_begin(i)));
	for (uint32_t i = 0; class_begin(i) < most; i++)
		if (per_ns(c, class_begin(i)) >= 0.98 * best)
			return class_begin(i);
	return most;
}

static void choose(struct curve *c)
{
	double target = (double)c->target;
	uint32_t now = c->size, best;

	best = best_of(c, limit(c, reach(c), 0.95 * target));
	if (now && keeps(c, now, target) &&
	    per_ns(c, best) < 1.02 * per_ns(c, now) && best > now / 2)
		return;
	c->size = best;
}

uint32_t curve_size(const struct curve *c)
{
	return MAX(c->size, 1u);
}

/* --- learning --------------------------------------------------------------
 */

/* What larger batches took long ago. */
static void forget(struct curve *c)
{
	for (uint32_t i = class_of(curve_size(c)) + 1; i < CURVE_CLASSES; i++)
		if (c->full - c->classes[i].at > (uint32_t)FORGOTTEN)
			c->classes[i].seen = 0;
}

void curve_learn(struct curve *c, uint32_t size, uint64_t took)
{
	uint32_t i;
	double off, n;

	assert(size >= 1 && size <= CURVE_MOST);
	i = class_of(size);
	n = ++c->classes[i].seen;
	/* A single one that took very long is no new mean. */
	off = (double)took - c->classes[i].mean;
	if (n > 1)
		off = MIN(off, c->classes[i].mean);
	c->classes[i].mean += off / MIN(n, (double)GAIN);
	c->classes[i].size +=
		((double)size - c->classes[i].size) / MIN(n, (double)GAIN);
	if (n > 1)
		c->classes[i].deviation +=
			(fabs(off) - c->classes[i].deviation) /
			MIN(n - 1, (double)DEVIATION_GAIN);
	else
		c->classes[i].deviation = 0;
	if (size >= curve_size(c))
		c->full++;
	c->classes[i].at = c->full;
	/* A single request alone says nothing about larger batches. */
	if (size == 1 && c->size > 1)
		return;
	forget(c);
	fit(c);
	choose(c);
}

uint64_t curve_wait(const struct curve *c, uint32_t n)
{
	double saved =
		curve_mean(c, 1) + curve_mean(c, n) - curve_mean(c, n + 1);
	double left = (double)c->target - 2 * curve_p99(c, n + 1);

	return (uint64_t)MAX(MIN(saved, left), 0.0);
}

uint64_t curve_window(const struct curve *c, uint32_t n)
{
	return curve_wait(c, n) / 4;
}

/* --- telling ---------------------------------------------------------------
 */

static bool has_moved(const struct curve *c, const struct curve_told *told)
{
	if (c->n_points != told->n_points)
		return true;
	for (uint32_t i = 0; i < c->n_points; i++)
		if (fabs(c->points[i].mean - told->mean[i]) >
		    told->mean[i] / 10)
			return true;
	return false;
}

bool curve_has_news(const struct curve *c, struct curve_told *told,
		    uint64_t now)
{
	if (c->size == told->size &&
	    (now - told->at < TELL_NS || !has_moved(c, told)))
		return false;
	told->at = now;
	told->size = c->size;
	told->n_points = c->n_points;
	for (uint32_t i = 0; i < c->n_points; i++)
		told->mean[i] = c->points[i].mean;
	return true;
}

void curve_write(const struct curve *c, struct buf *out)
{
	buf_addf(out, "{\"size\":%u,\"points\":[", curve_size(c));
	for (uint32_t i = 0; i < c->n_points; i++) {
		const struct curve_point *p = &c->points[i];

		buf_addf(out, "%s[%.0f,%.0f,%.0f]", i ? "," : "", p->size,
			 p->mean, p->mean + 3 * p->deviation);
	}
	buf_adds(out, "]}");
}
