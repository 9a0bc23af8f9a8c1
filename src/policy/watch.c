#include "policy/watch.h"

#include <math.h>

#include "core/mem.h"

/* Beyond so many all are halved: what is to be compared is how it answers, not
 * how it did last year. */
enum { REQUESTS_KEPT = 20000 };

void watch_add(struct watch_count *c, bool failed)
{
	if (c->requests >= REQUESTS_KEPT) {
		c->requests /= 2;
		c->failed /= 2;
	}
	c->requests++;
	c->failed += failed;
}

static double log_choose(double n, double k)
{
	return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

double watch_chance(const struct watch_count *now,
		    const struct watch_count *before)
{
	double n = (double)now->requests, e = (double)now->failed;
	double all = n + (double)before->requests + WATCH_ASSUMED;
	double bad = e + (double)before->failed + 1, sum = 0;

	for (double k = e; k <= fmin(n, bad); k++) {
		double p =
			exp(log_choose(bad, k) + log_choose(all - bad, n - k) -
			    log_choose(all, n));

		sum += p;
		/* Behind its middle it only falls. */
		if (p < sum * 1e-9)
			break;
	}
	return fmin(sum, 1);
}

bool watch_is_worse(const struct watch_count *now,
		    const struct watch_count *before)
{
	double k = (double)now->failed;

	/* One alone shows nothing. */
	return now->failed > 1 &&
	       watch_chance(now, before) < WATCH_ALARM / (k * (k + 1));
}
