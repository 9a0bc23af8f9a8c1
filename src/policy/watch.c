#include "policy/watch.h"

/* Beyond so many all are halved: what is to be compared is how it answers, not
 * how it did last year. */
enum { REQUESTS_KEPT = 20000 };

void watch_add(struct chance_sample *c, bool failed)
{
	if (c->requests >= REQUESTS_KEPT) {
		c->requests /= 2;
		c->errors /= 2;
	}
	c->requests++;
	c->errors += failed;
}

double watch_chance(const struct chance_sample *now,
		    const struct chance_sample *before)
{
	const struct chance_sample known = {
		.requests = before->requests + WATCH_ASSUMED,
		.errors = before->errors + 1,
	};

	return chance_fisher(*now, known);
}

bool watch_is_worse(const struct chance_sample *now,
		    const struct chance_sample *before)
{
	double k = (double)now->errors;

	/* One alone shows nothing. */
	return now->errors > 1 &&
	       watch_chance(now, before) < WATCH_ALARM / (k * (k + 1));
}
