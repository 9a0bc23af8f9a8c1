#include "policy/curve.h"

#include <assert.h>
#include <math.h>

#include "core/mem.h"

enum {
	GAIN = 8,	     /* of the mean: 1 / GAIN of what is new */
	DEVIATION_GAIN = 16, /* of the deviation */
	ENOUGH = 4,	     /* batches of a class before a larger one */
	PROVEN = 256,	     /* before it has earned new patience */
	FADES = 256,	     /* full batches until a point counts half */
	FORGOTTEN = 8,	     /* until larger sizes are, the first time */
	FORGOTTEN_MOST = 512,
	BACKLOG = 4, /* times the size: more there changes nothing */
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

/* In ns, of a batch of n. */
typedef double cost_fn(const struct curve *c, double n);

/* What is tried for the first time comes behind a batch that is known. */
static bool keeps(const struct curve *c, double n, double target, cost_fn *time)
{
	double before = blind(c, n) ? c->points[0].size : n;

	return time(c, before) + time(c, n) <= target;
}

/* Where nothing is known more may be for nothing. */
static double expected(const struct curve *c, double n)
{
	return blind(c, n) ? c->points[0].mean : curve_mean(c, n);
}

/* Of the slot. */
static double per_request(const struct curve *c, double n)
{
	return expected(c, n) / n;
}

/* For who comes now: a batch is running, and the others go first. */
static double behind(const struct curve *c, double n)
{
	return (1 + MAX(1.0, c->there / n)) * expected(c, n);
}

/* The largest that may be taken for what is known of smaller ones. */
static uint32_t reach(const struct curve *c)
{
	uint32_t last = CURVE_CLASSES - 1, next;

	while (last && !c->classes[last].seen)
		last--;
	if (c->classes[last].seen < ENOUGH)
		return MIN((uint32_t)c->classes[last].size, c->most);
	next = last + 1;
	/* Twice as many, where they are there. */
	if (last && c->there >= class_begin(last + 2))
		next++;
	return MIN(class_begin(MIN(next, CURVE_CLASSES - 1u)), c->most);
}

/* Sizes beyond 8 are four to each doubling: one request more is not worth the
 * first batch of another size. */
static uint32_t rounded(uint32_t n)
{
	uint32_t shift = n < 8 ? 0 : 29 - (uint32_t)__builtin_clz(n);

	return n >> shift << shift;
}

/* The largest size up to `most` that keeps the target. */
static uint32_t limit(const struct curve *c, uint32_t most, double target,
		      cost_fn *time)
{
	while (most > 1 && !keeps(c, most, target, time))
		most = rounded(most - 1);
	return most;
}

/* The smallest up to `most` of about the least cost. */
static uint32_t cheapest(const struct curve *c, uint32_t most, cost_fn *cost)
{
	double least = cost(c, most);

	for (uint32_t i = 0; class_begin(i) < most; i++)
		least = MIN(least, cost(c, class_begin(i)));
	for (uint32_t i = 0; class_begin(i) < most; i++)
		if (cost(c, class_begin(i)) <= 1.02 * least)
			return class_begin(i);
	return most;
}

/* Where growth in doubles went too far: the class that it passed over. */
static uint32_t passed_over(const struct curve *c, uint32_t best)
{
	uint32_t i = class_of(best) + 1;

	if (i + 1 < CURVE_CLASSES && !c->classes[i].seen &&
	    c->classes[i + 1].seen)
		return class_begin(i);
	return 0;
}

static void choose(struct curve *c)
{
	double target = (double)c->target, spared = 0.95 * target;
	uint32_t most = reach(c), now = c->size, best, sooner, between;
	cost_fn *cost = per_request, *time = curve_p99;

	best = cheapest(c, limit(c, most, spared, time), per_request);
	if (behind(c, best) > target) {
		time = curve_mean;
		best = cheapest(c, limit(c, most, spared, time), per_request);
		sooner = cheapest(c, most, behind);
		if (behind(c, sooner) < behind(c, best) * 2 / 3) {
			best = sooner;
			cost = behind;
		}
	}
	between = passed_over(c, best);
	if (between && keeps(c, between, spared, time))
		c->size = between;
	else if (!now ||
		 (cost == per_request && !keeps(c, now, target, time)) ||
		 cost(c, now) >= 1.02 * cost(c, best) || best <= now / 2)
		c->size = best;
}

uint32_t curve_size(const struct curve *c)
{
	return MAX(c->size, 1u);
}

/* --- learning --------------------------------------------------------------
 */

/* What larger batches took some time ago. */
static void forget(struct curve *c)
{
	for (uint32_t i = class_of(curve_size(c)) + 1; i < CURVE_CLASSES; i++) {
		struct curve_class *k = &c->classes[i];

		if (!k->seen || c->full - k->at <= (uint32_t)FORGOTTEN
							   << k->left)
			continue;
		k->seen = 0;
		k->left += FORGOTTEN << k->left < FORGOTTEN_MOST;
	}
}

/* Notes that one has run. */
static bool is_first(struct curve *c, uint32_t size)
{
	uint64_t bit = UINT64_C(1) << size % 64;
	bool first = !(c->ran[size / 64] & bit);

	c->ran[size / 64] |= bit;
	return first;
}

static void add(struct curve_class *k, double size, double took)
{
	double off, n;

	/* Those before it were of a device that was not warm yet. */
	if (k->seen < ENOUGH && took < k->mean / 2)
		k->seen = 0;
	if (!k->seen)
		k->size = k->mean = k->deviation = 0;
	n = ++k->seen;
	off = took - k->mean;
	/* A single one that took very long is no new mean. */
	if (n > 1) {
		off = MIN(off, k->mean);
		k->deviation += (fabs(off) - k->deviation) /
				MIN(n, (double)DEVIATION_GAIN);
	}
	k->mean += off / MIN(n, (double)GAIN);
	k->size += (size - k->size) / MIN(n, (double)GAIN);
	if (k->seen >= PROVEN)
		k->left = 0;
}

void curve_learn(struct curve *c, uint32_t size, uint64_t took)
{
	struct curve_class *k;

	assert(size >= 1 && size <= CURVE_MOST);
	k = &c->classes[class_of(size)];
	if (size >= curve_size(c))
		c->full++;
	k->at = c->full;
	if (is_first(c, size))
		return;
	add(k, size, (double)took);
	/* A single request alone says nothing about larger batches. */
	if (size == 1 && c->size > 1)
		return;
	forget(c);
	fit(c);
	choose(c);
}

void curve_there(struct curve *c, uint32_t n)
{
	double most = BACKLOG * curve_size(c);

	c->there += (MIN(n, most) - c->there) / GAIN;
	c->there = MIN(c->there, most);
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
