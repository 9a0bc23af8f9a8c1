#include "policy/autoscale.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"

enum {
	MS = 1000000,
	LONG = 4, /* times the patience: then what is in flight is what counts
		   */
};

static const double NS = 1e9;
void autoscale_fini(struct autoscale *a)
{
	free(a->levels);
	*a = (struct autoscale){0};
}

/* --- what comes ------------------------------------------------------------
 */

/* Forgets buckets that are past. */
static void turn(struct autoscale *a, uint64_t now)
{
	uint64_t bucket = now / a->width;

	if (bucket >= a->bucket + AUTOSCALE_WINDOW) {
		memset(a->counts, 0, sizeof a->counts);
		a->count = 0;
		a->bucket = bucket;
		return;
	}
	while (a->bucket < bucket) {
		uint32_t *old = &a->counts[++a->bucket % AUTOSCALE_WINDOW];

		a->count -= *old;
		*old = 0;
	}
}

void autoscale_arrived(struct autoscale *a, uint64_t now)
{
	if (!a->width)
		a->width = 100 * (uint64_t)MS / AUTOSCALE_WINDOW;
	turn(a, now);
	a->counts[a->bucket % AUTOSCALE_WINDOW]++;
	a->count++;
}

/* Counts over so long from now on, if that is much unlike before. */
static void resize(struct autoscale *a, uint64_t window, uint64_t now)
{
	uint64_t width = MAX(window / AUTOSCALE_WINDOW, (uint64_t)1);

	if (a->width && width < a->width + a->width / 4 &&
	    width > a->width - a->width / 4)
		return;
	a->width = width;
	a->bucket = now / width;
	memset(a->counts, 0, sizeof a->counts);
	a->counts[a->bucket % AUTOSCALE_WINDOW] = a->count;
}

/* --- how long ---------------------------------------------------------------
 */

struct choice {
	double keep;	 /* seconds */
	double value;	 /* replica-seconds that it saves, on average */
	double expected; /* how likely the level is needed meanwhile */
};

/* How long a replica is to be kept that is there `from` seconds after its level
 * was no longer needed. */
static struct choice choose(const struct scale_level *l, double from,
			    double price)
{
	struct choice best = {0};
	double w[GAPS_BINS], cost = 0, met = 0;
	double before = 0;

	gaps_expect(&l->gaps, from, w);
	for (uint32_t i = 0; i < GAPS_BINS; i++) {
		double end = gaps_bin_end(i), saved;

		met += w[i];
		cost += w[i] * (before + end) / 2;
		before = end;
		saved = price * met - cost - (1 - met) * end;
		if (saved > best.value) {
			best.value = saved;
			best.keep = end;
			best.expected = met;
		}
		/* No longer wait can save more than this. */
		if ((1 - met) * price < best.value - saved)
			break;
	}
	return best;
}

/* --- levels ----------------------------------------------------------------
 */

static void reserve(struct autoscale *a, uint32_t n)
{
	if (n <= a->n_levels)
		return;
	if (n > a->cap_levels) {
		a->cap_levels = MAX(n, a->cap_levels * 2);
		a->levels =
			mem_grow(a->levels, a->cap_levels * sizeof *a->levels);
	}
	memset(a->levels + a->n_levels, 0,
	       (n - a->n_levels) * sizeof *a->levels);
	a->n_levels = n;
}

const struct gaps *autoscale_gaps(const struct autoscale *a, uint32_t level)
{
	return level < a->n_levels && a->levels[level].gaps.came[0] > 0
		       ? &a->levels[level].gaps
		       : NULL;
}

void autoscale_recall(struct autoscale *a, uint32_t level,
		      const struct gaps *gaps)
{
	reserve(a, level + 1);
	a->levels[level].gaps = *gaps;
}

/* Levels above those that are needed, each while it is worth keeping: which
 * one's time is over first is chance where little is known of each, how many
 * are left is not. */
static void count_kept(struct autoscale *a, uint64_t now)
{
	a->top = MAX(a->top, a->needed);
	while (a->top > a->needed && a->levels[a->top - 1].keep_until <= now)
		a->top--;
	a->kept = a->needed;
	a->kept_until = UINT64_MAX;
	for (uint32_t k = a->needed; k < a->top; k++) {
		uint64_t until = a->levels[k].keep_until;

		if (until <= now)
			continue;
		a->kept++;
		a->kept_until = MIN(a->kept_until, until);
	}
}

/* Within 15% of it, by chance. Times end with bins, and many levels are alike,
 * such as those that nobody has seen: all of them would be kept for the next
 * bin, too, from some price on, and the hour that some are needed in is not
 * worth that of all. */
static double about(double price, uint64_t now)
{
	uint64_t hash = now * UINT64_C(0x9e3779b97f4a7c15) >> 40;

	return price * (0.85 + 0.3 * (double)hash / (1 << 24));
}

/* How long a level is kept that is no longer needed. */
static void keep(struct scale_level *l, uint64_t now, double from,
		 uint64_t fixed, double price)
{
	struct choice c = {0};

	if (!fixed)
		c = choose(l, from, about(price, now));
	l->idle_since = MAX(now, (uint64_t)1);
	l->keep_until = l->idle_since + fixed;
	if (c.value > 0)
		l->keep_until += (uint64_t)((from + c.keep) * NS);
	l->expected = (float)c.expected;
}

/* The first `ready` levels have a replica, those above them one that is
 * loading, if any. */
static void need(struct autoscale *a, uint32_t needed,
		 const struct scale_view *v, const struct scale_rule *rule,
		 double price)
{
	uint64_t now = v->now;

	reserve(a, needed);
	for (uint32_t k = a->needed; k < needed; k++) {
		struct scale_level *l = &a->levels[k];

		if (!l->idle_since)
			continue;
		gaps_learn(&l->gaps, (double)(now - l->idle_since) / NS);
		a->learned++;
	}
	for (uint32_t k = needed; k < a->needed; k++)
		keep(&a->levels[k], now,
		     k < v->ready ? 0 : (double)v->load / NS, rule->keep,
		     price);
	if (needed == a->needed && now < a->kept_until)
		return;
	a->needed = needed;
	count_kept(a, now);
}

/* --- the decision ----------------------------------------------------------
 */

static uint32_t whole(double x)
{
	return x < 1e9 ? (uint32_t)ceil(x - 1e-9) : 1000000000;
}

static uint32_t in_flight_in_replicas(const struct scale_view *v)
{
	return whole((double)v->in_flight / v->slots);
}

/* Somebody has waited for half of what he may: longer than the mean says. */
static bool is_long(const struct scale_view *v, double patience)
{
	return v->waiting && 2 * (double)v->oldest >= patience * NS;
}

/* What comes, and is in flight, in replicas. */
static uint32_t asked(const struct autoscale *a, const struct scale_view *v,
		      double service, double window, double load)
{
	double busy = v->in_flight - v->waiting, patience = window - service;
	double come = a->count * service / window;

	/* Where another is there in time nobody needs to wait for one who
	 * takes long, or may. */
	if (load <= patience &&
	    (!v->service || 2 * service > patience || is_long(v, patience)))
		return in_flight_in_replicas(v);
	/* Until one has told how long requests take a crowd gets twice as many
	 * with each time of loading. */
	if (!v->service)
		return MIN(in_flight_in_replicas(v), 2 * v->ready + !v->ready);
	if (service < LONG * patience)
		return whole(come / v->slots);
	/* Who waits longer than that has others before him who would have
	 * been served. */
	if (v->waiting >= a->count)
		return whole(MAX(come, busy) / v->slots);
	/* Of those who are busy some will be free in time, as a rule so many.
	 */
	come = busy * patience / service;
	come = MAX(0, come - 2 * sqrt(come));
	return whole((busy + MAX(0, v->waiting - come)) / v->slots);
}

/* Replicas with which those who wait now will have been served by the time
 * that another could be ready, or that they may wait, beside those who come. */
static uint32_t drains(const struct autoscale *a, const struct scale_view *v,
		       double service, double window, double soon)
{
	double come = a->count * service / window;

	return whole((come + v->waiting * service / soon) / v->slots);
}

/* Whether a replica of level k, which somebody waits for, will be of use. So
 * many are needed by what comes; more are by a crowd alone, which is less
 * likely to come again the higher it is: the number of replicas that a level
 * beyond all others needs is about as likely to be twice as large as heavy
 * tails are, (needed / k)^2. */
static bool is_worth_a_start(const struct autoscale *a, uint32_t k, double load,
			     const struct scale_advice *out)
{
	const struct scale_level *l = &a->levels[MIN(k, a->n_levels - 1)];
	double share = k < out->needed ? 1 : (double)out->needed / (k + 1);

	return choose(l, load, out->price).value * share * share > load;
}

/* More replicas than there are, if any. */
static uint32_t more(struct autoscale *a, const struct scale_view *v,
		     double service, double patience, double load,
		     struct scale_advice *out)
{
	uint32_t have = v->ready + v->loading, want = have;
	uint32_t all = in_flight_in_replicas(v);
	double soon = MAX(load, patience);

	if (!have && v->in_flight) {
		want = 1;
		out->why = v->service ? SCALE_NEEDED : SCALE_FIRST;
	}
	if (!v->service && out->needed > want) {
		want = out->needed;
		out->why = SCALE_FIRST;
	}
	if (v->waiting * service > soon * want * v->slots) {
		uint32_t n = drains(a, v, service, patience + service, soon);

		n = MIN(n, all);
		if (n > want) {
			want = n;
			out->why = SCALE_BACKLOG;
		}
	}
	if (load <= patience)
		return MAX(want, out->needed);
	for (; want < all && is_worth_a_start(a, want, load, out); want++) {
		out->why = SCALE_NEEDED;
		a->crowd = want + 1;
	}
	if (want == have && want < out->needed)
		out->why = SCALE_ENOUGH;
	return want;
}

/* Of two times, the first of which may be 0: never. */
static uint64_t sooner(uint64_t at, uint64_t other)
{
	return at ? MIN(at, other) : other;
}

struct scale_advice autoscale(struct autoscale *a, const struct scale_view *v,
			      const struct scale_rule *rule)
{
	double patience = (double)rule->patience / NS;
	double service = (double)v->service / NS;
	double load = (double)v->load / NS;
	double window = service + patience;
	uint32_t have = v->ready + v->loading;
	struct scale_advice out = {.why = SCALE_NEEDED};

	out.price = load + rule->worth * MAX(0, load - patience);
	resize(a, v->service + rule->patience, v->now);
	turn(a, v->now);
	out.rate = a->count / window;
	out.needed = asked(a, v, service, window, load);
	if (v->in_flight && !out.needed)
		out.needed = 1;
	out.needed = MIN(out.needed, rule->max);
	a->crowd = MIN(a->crowd, in_flight_in_replicas(v));
	need(a,
	     rule->keep ? MIN(MAX(out.needed, a->crowd), rule->max)
			: out.needed,
	     v, rule, out.price);

	out.want = more(a, v, service, patience, load, &out);
	if (out.want == have && have > out.needed) {
		/* Those who wait do so for what is loading. */
		if (!v->waiting || !v->loading)
			out.want = MIN(have, a->kept);
		out.why = out.want ? SCALE_NEEDED : SCALE_IDLE;
		if (out.want > out.needed) {
			const struct scale_level *l = &a->levels[a->top - 1];

			out.why = SCALE_KEPT;
			out.kept = l->keep_until - l->idle_since;
			out.expected = l->expected;
		}
	} else if (!out.want) {
		out.why = SCALE_IDLE;
	}
	if (out.want >= rule->max) {
		if (out.want > rule->max || out.why != SCALE_KEPT)
			out.why = SCALE_MAX;
		out.want = rule->max;
	}
	if (out.want < rule->min) {
		out.want = rule->min;
		out.why = SCALE_MIN;
	}
	/* Time alone may change it. */
	if (a->kept > a->needed)
		out.again = a->kept_until;
	if (a->count)
		out.again = sooner(out.again, (a->bucket + 1) * a->width);
	if (v->waiting && load <= patience && !is_long(v, patience))
		out.again = sooner(out.again,
				   v->now - v->oldest + rule->patience / 2 + 1);
	return out;
}

const char *scale_why_word(enum scale_why why)
{
	static const char *const words[] = {
		[SCALE_IDLE] = "idle",	     [SCALE_MIN] = "min",
		[SCALE_MAX] = "max",	     [SCALE_NEEDED] = "needed",
		[SCALE_BACKLOG] = "backlog", [SCALE_KEPT] = "kept",
		[SCALE_ENOUGH] = "enough",   [SCALE_FIRST] = "first",
	};

	return words[why];
}
